"""Corrections by people: every format shows them, the JSON keeps the original, and wrong or conflicting ones are
refused. Class: any change of text, words, speaker or review mark of any segment."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.errors import BadRevision, RevisionConflict
from worker.transcript.formats import FORMATS, json_
from worker.transcript.model import Revision, SegmentChange, Transcript, Word
from worker.transcript.revisions import read_revision_file, revised, states, with_revisions
from worker.transcript.subtitles.style import Style

SAID = transcript(
    segment("Heavy rane closed roads.", 0.5, 2.5),
    segment("(Applause)", 3.0, 4.0, words=()),
    segment("我哋聽日見", 5.0, 6.0, words="我哋聽日見"),
)


def words(*timed: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(text=text, start=start, end=end) for text, start, end in timed)


def revision(*changes: SegmentChange, id: str = "revision-1", **others: Any) -> Revision:
    return Revision(id=id, created_at="2026-11-29T12:00:00+00:00", changes=changes, **others)


RAIN = SegmentChange(
    segment=0,
    text="Heavy rain closed roads.",
    words=words(("Heavy", 0.5, 1.0), ("rain", 1.0, 1.5), ("closed", 1.5, 2.0), ("roads.", 2.0, 2.5)),
)


def with_changes(*changes: SegmentChange, **others: Any) -> Transcript:
    return with_revisions(SAID, [revision(*changes, **others)], base=None)


@pytest.mark.parametrize("fmt", sorted(set(FORMATS) - {"json", "html"}))
def test_every_format_contains_the_corrected_text_and_the_times_of_its_words(fmt: str) -> None:
    text = render(with_changes(RAIN), fmt, Style(word_cues=True))
    plain = re.sub(r"<[\d:.]+>|\{\\k\d+\}", "", text)
    assert "rain" in plain
    assert "rane" not in plain
    if fmt == "ctm":
        assert "call.wav 1 1.000 0.500 rain" in text
    if fmt == "vtt":
        assert "<00:00:01.000>rain" in text


def test_the_json_keeps_the_original_and_the_corrections_and_matches_its_schema() -> None:
    document = json.loads(render(with_changes(RAIN, editor="Wing"), "json"))
    assert document["segments"][0]["text"] == "Heavy rane closed roads."
    assert document["text"].startswith("Heavy rane")
    assert document["revisions"][0]["editor"] == "Wing"
    assert document["revisions"][0]["changes"][0]["text"] == "Heavy rain closed roads."
    jsonschema.Draft202012Validator(json_.schema()).validate(document)
    assert Transcript.model_validate(document) == with_changes(RAIN, editor="Wing")


def test_a_transcript_without_corrections_does_not_change() -> None:
    assert revised(SAID) is SAID
    older = json.loads(render(SAID, "json"))
    del older["revisions"], older["waveform"]
    assert Transcript.model_validate(older) == SAID


def test_names_of_speakers_apply_to_all_segments_before_the_changes_of_single_segments() -> None:
    said = with_changes(SegmentChange(segment=2, speaker="Bo"), speakers={"": "Alice"})
    assert [part.channel for part in revised(said).segments] == ["Alice", "Alice", "Bo"]
    later = with_revisions(said, [revision(id="revision-2", speakers={"Bo": "Robert"})], base="revision-1")
    assert [part.channel for part in revised(later).segments] == ["Alice", "Alice", "Robert"]
    assert "Robert: 我哋聽日見\n" in render(later, "txt")
    cleared = with_revisions(later, [revision(id="revision-3", speakers={"Alice": ""})], base="revision-2")
    assert revised(cleared).segments[0].channel is None


def test_a_removed_segment_leaves_no_trace_in_other_formats_and_can_be_restored() -> None:
    said = with_changes(SegmentChange(segment=0, text=""))
    for fmt in sorted(set(FORMATS) - {"json", "html"}):
        assert "Heavy" not in render(said, fmt), fmt
    assert revised(said).text == "(Applause)\n我哋聽日見"
    again = with_revisions(said, [revision(RAIN, id="revision-2")], base="revision-1")
    assert revised(again).segments[0].text == RAIN.text


def test_the_last_revision_wins_and_the_review_mark_stays() -> None:
    said = with_changes(RAIN.model_copy(update={"reviewed": True}))
    again = SegmentChange(segment=0, text="Rain.", words=words(("Rain.", 1.0, 1.5)))
    said = with_revisions(said, [revision(again, id="revision-2")], base="revision-1")
    state = states(said)[0]
    assert (state.segment.text, state.reviewed, state.edited) == ("Rain.", True, True)
    assert state.original.text == "Heavy rane closed roads."


@pytest.mark.parametrize("events", ["keep", "remove"])
def test_corrections_stay_at_their_segment_if_audio_events_are_removed(events: Any) -> None:
    change = SegmentChange(segment=2, text="我哋後日見", words=words(*((c, 5.0, 5.1) for c in "我哋後日見")))
    style = Style(audio_events=events)
    document = json.loads(render(with_changes(change), "json", style))
    assert revised(Transcript.model_validate(document)).segments[2].text == "我哋後日見"
    assert ("Applause" in render(with_changes(change), "txt", style)) is (events == "keep")


def test_the_chinese_script_applies_to_corrections_in_every_format() -> None:
    change = SegmentChange(segment=2, text="软件里面", words=words(*((c, 5.0, 5.1) for c in "软件里面")))
    for fmt in FORMATS:
        text = render(with_changes(change), fmt, Style(script="hk"))
        assert "软" not in text
        assert "軟" in text


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (revision(SegmentChange(segment=3, text="")), "segment 3 does not exist"),
        (revision(SegmentChange(segment=-1, text="")), "segment -1 does not exist"),
        (revision(RAIN, RAIN), "changed twice"),
        (revision(RAIN.model_copy(update={"text": "Heavy rain"})), "do not spell"),
        (revision(SegmentChange(segment=0, words=words(("x", 1, 1)))), "without a text"),
        (revision(SegmentChange(segment=0, text="x", words=words(("x", 9.0, 9.5)))), "not within the segment"),
        (revision(SegmentChange(segment=0, text="x", words=words(("x", 2.0, 1.0)))), "not within the segment"),
        (revision(SegmentChange(segment=0, text="x", words=words(("x", float("nan"), 1.0)))), "not within the segment"),
        (revision(SegmentChange(segment=0, text="x", words=(Word("x", 1, 2, 7.0),))), "confidence"),
        (revision(SegmentChange(segment=0, text="x" * 20_001)), "more than 20000"),
        (revision(SegmentChange(segment=0, speaker="x" * 201)), "more than 200"),
        (revision(speakers={"": "x" * 201}), "more than 200"),
        (revision(speakers={str(k): "x" for k in range(201)}), "more than 200"),
        (revision(id="short"), "8 to 64"),
        (revision(id="../../etc/passwd"), "8 to 64"),
    ],
)
def test_wrong_corrections_are_refused(changed: Revision, reason: str) -> None:
    with pytest.raises(BadRevision, match=reason):
        with_revisions(SAID, [changed], base=None)


def test_a_second_editor_gets_a_conflict_that_names_the_first_one() -> None:
    said = with_changes(RAIN, editor="Wing")
    second = revision(SegmentChange(segment=2, text=""), id="revision-2")
    with pytest.raises(RevisionConflict, match=r"in the meantime .*'revision-1' by Wing"):
        with_revisions(said, [second], base=None)
    forced = with_revisions(said, [second], base=None, force=True)
    assert [one.id for one in forced.revisions] == ["revision-1", "revision-2"]
    assert with_revisions(said, [second], base="revision-1") == forced


def test_corrections_that_are_saved_again_change_nothing() -> None:
    """A page that saves a second time sends all its revisions."""
    first, second = revision(RAIN), revision(SegmentChange(segment=2, text=""), id="revision-2")
    said = with_revisions(SAID, [first], base=None)
    assert with_revisions(said, [first], base=None) is said
    both = with_revisions(said, [first, second], base=None)
    assert [one.id for one in both.revisions] == ["revision-1", "revision-2"]
    assert with_revisions(SAID, [first, second], base=None) == both


def test_a_revision_that_a_file_repeats_is_added_once() -> None:
    first, second = revision(RAIN), revision(SegmentChange(segment=2, text=""), id="revision-2")
    both = with_revisions(SAID, [first, first, second, second], base=None)
    assert [one.id for one in both.revisions] == ["revision-1", "revision-2"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "\x00", '{"kind": "stt-batch revisions"}', '{"kind": "x", "revisions": []}', "9" * 10_000],
)
def test_other_files_are_refused_with_their_name(text: str) -> None:
    with pytest.raises(BadRevision, match=r"^a\.json: is not a file of corrections"):
        read_revision_file(text, "a.json")


@given(st.lists(st.tuples(st.integers(-1, 4), st.none() | st.text(max_size=8), st.none() | st.booleans()), max_size=6))
def test_any_changes_are_either_refused_or_rendered(given_changes: list[Any]) -> None:
    changes = [SegmentChange(segment=n, text=text, reviewed=done) for n, text, done in given_changes]
    try:
        said = with_changes(*changes)
    except BadRevision:
        return
    assert len(revised(said).segments) == len(SAID.segments)
    for fmt in FORMATS:
        render(said, fmt).encode("utf-8", "backslashreplace")
