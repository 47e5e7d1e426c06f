from __future__ import annotations

import html
import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks.job_spec
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.errors import OutputError
from worker.transcript.formats import FORMATS, json_, pieces, txt
from worker.transcript.model import Gap, Segment, Transcript, Word
from worker.transcript.subtitles.style import Style

TWO = transcript(segment("Good morning, Steve.", 1.0, 2.5), segment("你好，<b>Katie</b> & --> 再見", 3600.0, 3602.0))
WORDS = Style(word_cues=True)


def on(channel: str, spoken: Segment) -> Segment:
    return spoken.model_copy(update={"channel": channel})


CALL = transcript(
    on("agent", segment("Thank you for calling.", 0.5, 2.0)),
    on("agent", segment("How can I help you today, sir?", 4.0, 6.0)),
    on("陳先生", segment("我想改 appointment", 8.0, 9.5, words=["我", "想", "改", "appointment"])),
)


def test_srt_has_numbered_cues() -> None:
    assert render(TWO, "srt") == (
        "1\n00:00:01,000 --> 00:00:02,500\nGood morning, Steve.\n"
        "\n"
        "2\n01:00:00,000 --> 01:00:02,000\n你好，＜b＞Katie＜/b＞ & --＞ 再見\n"
    )


def test_srt_names_the_channel_when_it_changes() -> None:
    texts = [block.split("\n", 2)[2] for block in render(CALL, "srt").strip().split("\n\n")]
    assert texts == ["agent: Thank you for calling.", "How can I help you today, sir?", "陳先生: 我想改 appointment"]


def test_vtt_escapes_markup() -> None:
    assert render(TWO, "vtt") == (
        "WEBVTT\n"
        "\n"
        "00:00:01.000 --> 00:00:02.500\nGood morning, Steve.\n"
        "\n"
        "01:00:00.000 --> 01:00:02.000\n你好，&lt;b&gt;Katie&lt;/b&gt; &amp; --&gt; 再見\n"
    )


def test_vtt_has_voices_and_word_timestamps() -> None:
    assert render(CALL, "vtt", WORDS).split("\n\n")[1:] == [
        "00:00:00.500 --> 00:00:02.000\n<v agent>Thank <00:00:00.875>you <00:00:01.250>for <00:00:01.625>calling.",
        "00:00:04.000 --> 00:00:06.000\n<v agent>How <00:00:04.286>can <00:00:04.571>I <00:00:04.857>help "
        "<00:00:05.143>you <00:00:05.429>today, <00:00:05.714>sir?",
        "00:00:08.000 --> 00:00:09.500\n<v 陳先生>我<00:00:08.375>想<00:00:08.750>改 <00:00:09.125>appointment\n",
    ]


def test_ass_has_a_style_and_a_name_for_each_channel() -> None:
    text = render(CALL, "ass", WORDS)
    assert text.startswith("[Script Info]\nTitle: call.wav\nScriptType: v4.00+\n")
    assert re.findall(r"^Style: ([^,]+),[^,]+,\d+,(&H\w+)", text, re.MULTILINE) == [
        ("Channel 1", "&H00FFFFFF"), ("Channel 2", "&H0066E0FF"),
    ]  # fmt: skip
    lines = text.split("Effect, Text\n")[1].splitlines()
    assert lines[0] == (
        r"Dialogue: 0,0:00:00.50,0:00:02.00,Channel 1,agent,0,0,0,,{\k37}Thank{\k38} you{\k37} for{\k38} calling."
    )
    assert lines[2].startswith(r"Dialogue: 0,0:00:08.00,0:00:09.50,Channel 2,陳先生,0,0,0,,{\k37}我{\k38}想")


def test_ass_text_is_never_a_command() -> None:
    line = render(transcript(segment(r"a {\b1} b\N c, d", 0, 3)), "ass").splitlines()[-1]
    assert line.endswith(",,0,0,0,,a ｛＼b1｝ b＼N c, d")


def test_txt_has_one_line_per_segment() -> None:
    spoken = transcript(segment("one\ntwo", 0, 1), segment("  ", 1, 2), on("agent", segment("three", 62.25, 63)))
    assert render(spoken, "txt") == "one two\nagent: three\n"
    assert "".join(txt.pieces(spoken, times=True)) == "[00:00:00.000] one two\n[00:01:02.250] agent: three\n"


def test_tsv_has_one_row_per_segment() -> None:
    spoken = transcript(segment("a\tb\nc", 0, 1.25), on("陳 先生", segment("d", 2, 3)))
    assert render(spoken, "tsv") == "start\tend\tchannel\ttext\n0.000\t1.250\t\ta b c\n2.000\t3.000\t陳先生\td\n"


def test_ctm_has_one_line_per_word_in_order_of_channel_and_time() -> None:
    words = (Word(text="Well,", start=2.0, end=2.4, confidence=0.5), Word(text="yes", start=2.5, end=2.75))
    late = Segment(text="Well, yes", start=2.0, end=2.75, words=words, channel="b")
    assert render(transcript(late, on("b", segment("no", 1.0, 1.5)), on("a", segment("我想", 3, 4))), "ctm") == (
        "call.wav a 3.000 1.000 我想\n"
        "call.wav b 1.000 0.500 no\n"
        "call.wav b 2.000 0.400 Well, 0.5000\n"
        "call.wav b 2.500 0.250 yes\n"
    )
    assert render(transcript(segment("alone", 0, 1)), "ctm") == "call.wav 1 0.000 1.000 alone\n"


def test_textgrid_has_tiers_without_gaps() -> None:
    text = render(transcript(segment('say "hi"', 1.0, 2.0)), "textgrid")
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 60.000\n')
    assert re.findall(r'name = "(.*)"', text) == ["segments", "words"]
    assert re.findall(r'text = "(.*)"', text) == ["", 'say ""hi""', "", "", "say", '""hi""', ""]
    names = re.findall(r'name = "(.*)"', render(CALL, "textgrid"))
    assert names == ["agent segments", "agent words", "陳先生 segments", "陳先生 words"]


def test_json_reads_back_as_the_same_transcript() -> None:
    text = render(TWO, "json")
    assert Transcript.model_validate_json(text) == TWO
    assert "你好" in text
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["schema_version"] == 1
    assert list(document["segments"][0]["words"][0]) == ["text", "start", "end", "confidence"]


@pytest.mark.parametrize("spoken", [TWO, CALL, transcript()])
def test_json_matches_its_schema(spoken: Transcript) -> None:
    schema = json_.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(render(spoken, "json"))
    validator.validate(document)
    document["segments"] = [{"text": 1}]
    assert not validator.is_valid(document)


def test_the_chinese_script_applies_to_every_format() -> None:
    spoken = transcript(segment("软件里面", 0, 2, words="软件里面"))
    for fmt in FORMATS:
        text = render(spoken, fmt, Style(script="hk"))
        assert re.sub(r"<[^>]*>|\s|[^\u4e00-\u9fff]", "", text).count("軟件裏面") >= 1, fmt
        assert "软" not in text


@pytest.mark.parametrize(
    ("fmt", "text"),
    [("srt", ""), ("vtt", "WEBVTT\n"), ("txt", ""), ("ctm", ""), ("tsv", "start\tend\tchannel\ttext\n")],
)
def test_silence_gives_an_empty_document(fmt: str, text: str) -> None:
    assert render(transcript(), fmt) == text


def test_vtt_words_that_begin_at_the_same_time_have_one_timestamp() -> None:
    words = [Word(text=text, start=at, end=at + 0.3) for text, at in (("the", 1.0), ("garden", 2.0), ("hotel", 2.0))]
    said = transcript(Segment(text="the garden hotel", start=1.0, end=3.0, words=tuple(words)))
    assert render(said, "vtt", WORDS).endswith("\nthe <00:00:02.000>garden hotel\n")


def test_an_unknown_format_is_refused_with_a_list_of_formats() -> None:
    with pytest.raises(OutputError, match=r"'doc'; choose from json, srt, vtt, txt, html"):
        render(TWO, "doc")


@given(st.text(min_size=1, max_size=200), st.booleans())
def test_a_vtt_cue_never_contains_a_blank_line_or_an_arrow(text: str, words: bool) -> None:
    spoken = transcript(on(text, segment(text, 0, 5, words=())))
    head, *blocks = render(spoken, "vtt", Style(word_cues=words)).rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    for block in blocks:
        time, *lines = block.split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", time)
        assert 1 <= len(lines) <= 2
        plain = [re.sub(r"<v [^<>]*>|<[\d:.]+>", "", line) for line in lines]
        assert not any("-->" in line or "<" in line for line in plain)


@given(st.text(max_size=100), st.sampled_from(sorted(FORMATS)))
def test_every_document_can_be_encoded(text: str, fmt: str) -> None:
    render(transcript(segment(text, 0, 5, words=())), fmt).encode("utf-8", "backslashreplace")


def test_a_job_can_request_every_format() -> None:
    assert tuple(FORMATS) == tasks.job_spec.FORMATS


def test_the_files_of_the_page_are_packaged() -> None:
    project = (Path(__file__).resolve().parents[3] / "pyproject.toml").read_text()
    assert '"worker.transcript.formats" = ["page/*"]' in project


@pytest.mark.parametrize(
    ("source", "place", "first"),
    [
        ("/data/in/a.wav", "/data/out/a.html", "../in/a.wav"),
        ("/data/in/a b#1.wav", "/data/in/a.html", "a%20b%231.wav"),
        ("/data/a.wav", "/results/a.html", "./a.wav"),
        ("s3://calls/in/a.wav", "s3://calls/out/monday/a.html", "../../in/a.wav"),
        ("s3://calls/in/a.wav", "s3://texts/a.html", "./a.wav"),
        ("s3://calls/in/a.wav", "/results/a.html", "./a.wav"),
        ("https://example.com/a.wav", "/results/a.html", "https://example.com/a.wav"),
    ],
)
def test_the_page_first_looks_for_the_audio_relative_to_its_own_location(source: str, place: str, first: str) -> None:
    said = transcript(segment("one two", 0.0, 1.0))
    said = said.model_copy(update={"source": said.source.model_copy(update={"path": source, "name": "a.wav"})})
    page = "".join(pieces(said, "html", place=place))
    assert re.findall(r'<source src="([^"]*)">', page)[0] == first


def page_of(path: str, *, absolute_paths: bool = False) -> str:
    said = transcript(segment("one two", 0.0, 1.0))
    gap = Gap(start=1.0, end=2.0, reason=f"{path}: no session could be had")
    source = said.source.model_copy(update={"path": path, "name": "a.wav"})
    coverage = said.coverage.model_copy(update={"missing": [gap]})
    said = said.model_copy(update={"source": source, "coverage": coverage, "warnings": [f"{path}: is cut off"]})
    return "".join(pieces(said, "html", place="/results/a.html", absolute_paths=absolute_paths))


def test_a_page_contains_no_absolute_path_unless_requested() -> None:
    page = page_of("/home/alice/calls/a.wav")
    assert "alice" not in page
    assert "/home" not in page
    assert "a.wav: is cut off" in page
    assert "a.wav: no session could be had" in page
    asked = page_of("/home/alice/calls/a.wav", absolute_paths=True)
    assert 'src="file:///home/alice/calls/a.wav"' in asked


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("https://example.com/a.wav?sig=1", "https://example.com"),
        ("https://example.com:8443/a.wav", "https://example.com:8443"),
        ("https://me:secret@example.com/a.wav", "https://example.com"),
        ("https://bücher.example/a.wav", "https://xn--bcher-kva.example"),
        ("http://[::1]:80/a.wav", "http://[::1]:80"),
        ("https://*/a.wav", None),
        ("https://*.com/a.wav", None),
        ("https://a.example *", None),
        ("https://a.example;script-src *", None),
        ("https://a.example;script-src 'unsafe-inline'/a.wav", None),
        ("https://a.example, default-src */a.wav", None),
        ("https://a.example'unsafe-eval'", None),
        ('https://a.example"><script>/a.wav', None),
        ("https://a.example\thttps:/a.wav", None),
        ("https://a%20b.example/a.wav", None),
        ("https://[::1 *]/a.wav", None),
        ("https://[::1/a.wav", None),
        ("https://a.example:99999/a.wav", None),
        ("https://a.example:x/a.wav", None),
        ("https:///a.wav", None),
        ("http:*", None),
        ("data:text/html,x", None),
        ("javascript:alert(1)", None),
        ("//evil.example/a.wav", None),
        ("*", None),
        ("x; script-src *", None),
    ],
)
def test_the_path_of_the_audio_never_widens_the_content_security_policy(path: str, origin: str | None) -> None:
    page = page_of(path)
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    names = [directive.split()[0] for directive in policy.split("; ")]
    assert names == ["default-src", "script-src", "style-src", "media-src", "base-uri", "form-action"]
    media = policy.split("; ")[3].removeprefix("media-src ")
    allowed = "'self' file: blob:" + (f" {origin}" if origin else "")
    # URL parsers drop tabs.
    assert media == (allowed if "\t" not in path else media)
    assert not {"*", "https:", "http:", "data:", "'unsafe-inline'"} & set(media.split())
    for address in re.findall(r'<source src="([^"]*)">', page):
        assert not html.unescape(address).startswith(("//", "javascript:", "data:"))
