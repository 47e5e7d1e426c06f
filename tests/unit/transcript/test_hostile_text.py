"""Text that looks like the syntax of its file: other programs read the same visible characters."""

from __future__ import annotations

import csv
import io
import unicodedata

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.transcript.formats import FORMATS, WITH_BOM
from worker.transcript.model import Segment
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.cue_timing import cues
from worker.transcript.subtitles.style import Style

HOSTILE = (
    *("打個 <div> tag", "x < 5 && y > 3", "{name}", r"C:\Users\Nancy", "00:00:01,000 --> 00:00:02,000", "a --> b"),
    *(
        "<b>hi</b> <i",
        r"{\an8}top\Nb",
        "&lt;b&gt; &amp;nbsp; &#60; Q&A",
        "2020",
        "<!-- no -->",
        "{\\k20}{1}{25}",
        "<font color=red>",
    ),
    *("由 0:00:01.5 到 0:00:02.5", "WEBVTT", "NOTE 一", "STYLE", "<00:00:01.000>", "</v>", "1"),
)
LOOK_ALIKE = str.maketrans("＜＞｛｝＼﹠∶", "<>{}\\&:")
PARTS = st.sampled_from([*HOSTILE, *"<>{}&;:/\\-123bi", " --> ", "00:00:01,000", "我哋", "&gt"])


def plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text.translate(LOOK_ALIKE)).replace("\n", " ")


def expected(texts: list[str]) -> list[str]:
    return [plain("\n".join(cue.lines)) for cue in cues(transcript(*spoken(texts)))]


def spoken(texts: list[str]) -> list[Segment]:
    return [segment(text, k * 20, k * 20 + 5) for k, text in enumerate(texts)]


@given(
    st.lists(st.lists(PARTS, min_size=1, max_size=5).map(lambda parts: "x" + "".join(parts)), min_size=1, max_size=4)
)
def test_python_readers_of_srt_see_the_text(texts: list[str]) -> None:
    srt = render(transcript(*spoken(texts)), "srt")
    assert [plain(e.plaintext) for e in pysubs2.SSAFile.from_string(srt, format_="srt")] == expected(texts)
    assert [plain(c.text) for c in webvtt.from_buffer(io.StringIO(srt), format="srt")] == expected(texts)


@pytest.mark.parametrize(
    "text", ['"quoted" start', '"', '""', "=1+1", "@SUM(A1)", "-5 度", "+852", "＝1", 'a "b" c', "'x"]
)
def test_tsv_rows_survive_csv_and_start_no_formula(text: str) -> None:
    rows = list(csv.reader(io.StringIO(render(transcript(*spoken([text, "after"])), "tsv")), "excel-tab"))
    assert [row[3] for row in rows[2:]] == ["after"]
    assert rows[1][3].removeprefix("'") == tidy(text).removeprefix("'")
    assert not rows[1][3].startswith(tuple("=+-@＝＋－＠"))


def test_no_cue_outlasts_the_file() -> None:
    said = transcript(segment("a b c", 58.9, 59.4))
    assert [cue.end_ms for cue in cues(said, Style())] == [59900]
    short = said.model_copy(update={"source": said.source.model_copy(update={"duration": 59.5})})
    assert [cue.end_ms for cue in cues(short, Style())] == [59500]


@pytest.mark.parametrize("fmt", sorted(FORMATS))
def test_a_byte_order_mark_is_written_only_where_readers_expect_it(fmt: str) -> None:
    said = transcript(segment("你好", 0, 2))
    marked = render(said, fmt, Style(bom=True))
    assert marked == ("\ufeff" if fmt in WITH_BOM else "") + render(said, fmt)


@pytest.mark.parametrize("fmt", ["srt", "vtt", "ass", "txt", "tsv", "textgrid", "ctm"])
def test_control_and_bidi_characters_are_removed(fmt: str) -> None:
    said = transcript(segment("a\u202eb\u2066c\ufeffd\x07e\u200ff", 0, 2))
    text = render(said, fmt)
    assert "abcdef" in text
    assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cf")} - {"\n", "\t"}
