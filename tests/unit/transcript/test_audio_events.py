"""Audio events are found in all notations. They are written in square brackets or removed, and are never treated as
speech."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tasks.cli import main
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from tests.unit.transcript.test_unanswered_ranges import voiced
from worker.transcript.audio_events import audio_events, speech_of, with_bracketed_events, without_events
from worker.transcript.formats import FORMATS
from worker.transcript.model import Correction, Coverage, Segment, Word
from worker.transcript.quality import QualityInputs, assess
from worker.transcript.subtitles.style import Style
from worker.transcript.unanswered_ranges import UnansweredRange, unanswered_ranges

KEEP, REMOVE = Style(audio_events="keep"), Style(audio_events="remove")
APPLAUSE = segment("多謝大家(掌聲)跟住落嚟", 0, 6, words=["多謝大家", "跟住落嚟"])


def bare(text: str) -> Segment:
    return Segment(text=text, start=1.0, end=4.0)


@pytest.mark.parametrize(
    ("text", "kept", "removed"),
    [
        ("多謝大家(掌聲)跟住落嚟", "多謝大家[掌聲]跟住落嚟", "多謝大家跟住落嚟"),
        ("多謝大家（笑聲）跟住落嚟", "多謝大家[笑聲]跟住落嚟", "多謝大家跟住落嚟"),
        ("多谢大家【鼓掌】", "多谢大家[鼓掌]", "多谢大家"),
        ("好［全場歡呼］多謝", "好[全場歡呼]多謝", "好多謝"),
        ("〔音樂響起〕各位好", "[音樂響起]各位好", "各位好"),
        ("Thank you. [Applause] Now, next.", "Thank you. [Applause] Now, next.", "Thank you. Now, next."),
        ("Well (laughs), yes", "Well [laughs], yes", "Well, yes"),
        ("*music* Good evening", "[music] Good evening", "Good evening"),
        ("Good evening {MUSIC}", "Good evening [MUSIC]", "Good evening"),
        ("<laughter> no", "[laughter] no", "no"),
        ("♪ Good evening", "[♪] Good evening", "Good evening"),
        ("♪♪ 各位好 ♫", "[♪] 各位好 [♪]", "各位好"),
        ("♪ music ♪", "[music]", ""),
        ("((applause))", "[applause]", ""),
        ("[BLANK_AUDIO]", "[BLANK AUDIO]", ""),
        ("(upbeat music playing) Hi (audience laughing) there", "[upbeat music playing] Hi [audience laughing] there",
         "Hi there"),
        ("好。（掌聲）", "好。[掌聲]", "好。"),
        ("(掌聲)。", "[掌聲]。", ""),
        ("Yes [Applause] [Cheering] no", "Yes [Applause] [Cheering] no", "Yes no"),
        ("笑い（拍手）です", "笑い[拍手]です", "笑いです"),
    ],
)  # fmt: skip
def test_all_notations_of_events_become_square_brackets_or_nothing(text: str, kept: str, removed: str) -> None:
    assert with_bracketed_events(bare(text)).text == kept
    assert without_events(bare(text)).text == removed
    assert with_bracketed_events(bare(kept)).text == kept


@pytest.mark.parametrize(
    "text",
    [
        "香港(HK)同澳門（Macau）",
        "the World Health Organization (WHO) said",
        "佢（即係我細佬）話唔嚟",
        "12,000(一萬二千)",
        "the music (and the lyrics) were good",
        "多謝(掌聲",
        "*really* good, 3 * 4 * 5, f***ing",
        "x < 5 and y > 3, <b>bold</b>, {name}",
        "♪ 東方之珠 我的愛人 ♪",
        "smile :) and (:",
        "()[]** （）",
        "大家笑，有掌聲同音樂",
    ],
)
def test_parentheses_of_the_speech_are_not_events(text: str) -> None:
    words = text.replace("(", " ").replace(")", " ").replace("（", " ").replace("）", " ").replace("*", " ").split()
    assert audio_events(text) == []
    assert audio_events(text, segment(text, 0, 5, words=words).words) == []


def test_an_unknown_name_is_an_event_only_if_the_service_gave_words_for_the_rest() -> None:
    text = "跟住（佢喺隔籬房講嘢）就散會"
    assert [e.name for e in audio_events(text, segment("", 0, 5, words=["跟住", "就", "散會"]).words)] == [
        "佢喺隔籬房講嘢"
    ]
    assert audio_events(text) == []
    assert audio_events(text, segment("", 0, 5, words=["跟住"]).words) == []
    assert audio_events(text, segment("", 0, 5, words=["跟住", "佢喺隔籬房講嘢", "就散會"]).words) == []


def test_a_name_that_is_often_said_is_no_event_where_it_is_said() -> None:
    text = "the motor (engine) failed"
    assert audio_events(text, segment("", 0, 5, words=["the", "motor", "(engine)", "failed"]).words) != []
    assert audio_events(text, segment("", 0, 5, words=["the", "motor", "engine", "failed"]).words) == []


def test_words_that_are_events_are_no_words() -> None:
    said = segment("Hello [Applause] world", 0, 3, words=["Hello", "[Applause]", "world"])
    assert [word.text for word in with_bracketed_events(said).words] == ["Hello", "world"]
    assert [word.text for word in without_events(said).words] == ["Hello", "world"]
    split = segment("Hello (soft music) world", 0, 3, words=["Hello", "(soft", "music)", "world"])
    assert [word.text for word in without_events(split).words] == ["Hello", "world"]


def test_corrections_move_with_their_text() -> None:
    said = bare("(掌聲)我係陳大文").model_copy(
        update={"corrections": (Correction(heard="陳大民", wanted="陳大文", position=6),)}
    )
    for changed in (with_bracketed_events(said), without_events(said)):
        (correction,) = changed.corrections
        assert changed.text[correction.position :] == "陳大文"


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt != "ctm"])
def test_every_text_format_has_the_events_of_the_option(fmt: str) -> None:
    said = transcript(APPLAUSE, segment("[Laughter]", 7, 9, words=[]))
    as_written, kept, removed = (render(said, fmt, style) for style in (Style(), KEEP, REMOVE))
    assert "(掌聲)" in re.sub("<[^>]*>", "", as_written) or fmt in ("textgrid", "ass", "srt", "vtt")
    assert "[掌聲]" in kept
    assert "(掌聲)" not in kept
    assert "掌聲" not in removed
    assert "Laughter" in kept
    assert "Laughter" not in removed


def test_names_of_events_are_escaped_as_each_format_needs() -> None:
    text = '開始（<笑> & "樂"）完'
    said = transcript(segment(text, 0, 4, words=["開始", "完"]))
    assert "&lt;" not in render(said, "txt", KEEP)
    assert "<笑>" not in render(said, "vtt", KEEP)
    assert "<笑>" not in render(said, "srt", KEEP)
    assert "<笑>" not in render(said, "html", KEEP)
    table = list(csv.reader(io.StringIO(render(transcript(bare("[笑聲]=1+1")), "tsv", REMOVE)), "excel-tab"))
    assert table[1][3] == "'=1+1"


def test_ctm_has_words_only() -> None:
    assert "掌聲" not in render(transcript(APPLAUSE), "ctm")
    assert "掌聲" not in render(transcript(APPLAUSE), "ctm", KEEP)


def test_an_event_costs_no_other_word_its_time_and_is_not_broken() -> None:
    words = (Word("多謝大家", 0.0, 1.0), Word("跟住落嚟", 5.0, 6.0))
    said = Segment(text="多謝大家(全場熱烈掌聲)跟住落嚟", start=0, end=6, words=words)
    lines = render(transcript(said), "vtt", Style(audio_events="keep", word_cues=True)).split("\n")
    assert "[全場熱烈掌聲]" in "".join(lines)
    assert any("[全場熱烈掌聲]" in line.replace("<00:00:01.000>", "") for line in lines)
    assert "<00:00:05.000>跟住" in "".join(lines)


def test_events_are_not_speech_for_the_quality() -> None:
    coverage = Coverage(duration=60.0, sent=60.0, committed_until=60.0)
    events = [Segment(text="[Applause]", start=n, end=n + 0.5) for n in range(20)]
    found = assess(events, coverage, QualityInputs(language="yue"))
    assert (found.reasons, found.words_per_second, found.repeated_text) == ((), None, 0.0)
    said = segment("(music playing) 我哋開會", 0, 3, words=["我哋", "開會"])
    assert assess([said], coverage, QualityInputs(language="yue")).language_fit == 1.0


def test_sound_under_an_event_is_sound_without_text() -> None:
    speech = segment("hello and good evening", 0, 2)
    music = Segment(text="[Music]", start=2.0, end=9.0, words=(Word("[Music]", 2.0, 9.0),))
    assert [s.text for s in speech_of([speech, music])] == ["hello and good evening"]
    found = unanswered_ranges([speech, music], 0.0, 9.0, voiced((0, 9), length_s=9), paced=False)
    assert found == [UnansweredRange(2.0, 9.0, last=True)]


@given(st.text(alphabet="(掌聲)[]（笑聲）*♪ab 好，music 12<>", max_size=40))
def test_the_brackets_are_stable_and_removal_is_complete(text: str) -> None:
    kept = with_bracketed_events(bare(text))
    assert with_bracketed_events(kept) == kept
    removed = without_events(bare(text)).text
    assert len(removed) <= len(text)


def test_the_option_reaches_the_exported_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "call.json").write_text(render(transcript(APPLAUSE), "json"), encoding="utf-8")
    arguments = ["export", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--format", "txt"]
    assert CliRunner().invoke(main, [*arguments, "--audio-events", "keep"]).exit_code == 0
    assert (tmp_path / "out" / "call.txt").read_text(encoding="utf-8") == "多謝大家[掌聲]跟住落嚟\n"
    assert CliRunner().invoke(main, [*arguments, "--audio-events", "loud"]).exit_code == 2


def test_a_job_without_the_option_can_be_run_by_a_worker_that_does_not_have_it() -> None:
    assert "audio_events" not in Style().model_dump(mode="json")
    assert Style.model_validate(KEEP.model_dump(mode="json")) == KEEP
