"""The endpointer: segments never overlap, contain all voice, and do not depend on the grouping of windows."""

from __future__ import annotations

from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import settings
from worker.audio.segmentation.speech_detector import VOICE_WINDOW
from worker.errors import SettingsError
from worker.server.endpointing import Endpointer, EndpointingRules, SegmentBounds, endpointing_rules
from worker.server.recognizers import SAMPLE_RATE

RULES = [
    EndpointingRules(),
    EndpointingRules(commit_silence_s=1.5, max_segment_s=36, early_after_s=float("inf"), early_silence_s=0.5),
    EndpointingRules(commit_silence_s=0.1, max_segment_s=5, early_after_s=2.5, early_silence_s=0.033, search_s=2.5),
]
NEEDED = 4  # windows of 32 ms in the shortest voice of 0.1 s

# Runs of (probability, windows): long voice, long silence, short noises, and uncertain probabilities.
runs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.19, 0.2, 0.3, 0.34, 0.35, 0.6, 0.99]), st.integers(1, 400)), max_size=25
)
noisy = st.lists(st.floats(0, 1), max_size=600)
probabilities = st.one_of(runs.map(lambda found: [p for p, count in found for _ in range(count)]), noisy)
wanted = st.sampled_from(RULES)


def segments_of(windows: list[float], wanted: EndpointingRules, sizes: list[int] | None = None) -> list[SegmentBounds]:
    endpointer = Endpointer(wanted)
    found, at = [], 0
    for size in sizes or []:
        found += endpointer.feed(windows[at : at + size])
        at += size
    found += endpointer.feed(windows[at:])
    return found + endpointer.flush(len(windows) * VOICE_WINDOW)


def voiced(windows: list[float], wanted: EndpointingRules) -> list[bool]:
    """Voice activity: from a probability of at least `on` until one below `off`."""
    out, speaking = [], False
    for probability in windows:
        speaking = probability >= wanted.on or (speaking and probability >= wanted.off)
        out.append(speaking)
    return out


@given(probabilities, wanted)
def test_segments_are_ordered_without_overlap_and_within_the_audio(
    windows: list[float], wanted: EndpointingRules
) -> None:
    cuts = segments_of(windows, wanted)
    for segment in cuts:
        assert 0 <= segment.start <= segment.voice_start < segment.end <= len(windows) * VOICE_WINDOW
    assert all(a.end <= b.start for a, b in pairwise(cuts))


@given(probabilities, wanted)
def test_voice_of_the_minimum_length_is_inside_a_segment(windows: list[float], wanted: EndpointingRules) -> None:
    cuts = segments_of(windows, wanted)
    inside = [False] * (len(windows) * VOICE_WINDOW // 256)
    for segment in cuts:  # cuts lie on multiples of half a window, or on the pre- and post-roll beyond the voice
        for half in range(-(-segment.start // 256), segment.end // 256):
            inside[half] = True
    at = 0
    for speaking, group in groupby(voiced(windows, wanted)):
        length = len(list(group))
        if speaking and length >= NEEDED:
            assert all(inside[at * 2 : (at + length) * 2]), f"voice from window {at} to {at + length} is missing"
        at += length


@given(probabilities, wanted, st.lists(st.integers(0, 50), max_size=80))
def test_segments_do_not_depend_on_the_size_of_the_calls(
    windows: list[float], wanted: EndpointingRules, sizes: list[int]
) -> None:
    assert segments_of(windows, wanted, sizes) == segments_of(windows, wanted)


@given(probabilities, wanted)
def test_segments_and_pieces_respect_their_maximum_length(windows: list[float], wanted: EndpointingRules) -> None:
    for segment in segments_of(windows, wanted):
        assert segment.end - segment.start <= wanted.max_segment_s * SAMPLE_RATE + VOICE_WINDOW
        assert [segment.start, *(end for _, end in segment.pieces)] == [
            *(start for start, _ in segment.pieces),
            segment.end,
        ]
        for start, end in segment.pieces:
            assert 0 < end - start <= 20 * SAMPLE_RATE + VOICE_WINDOW


@given(probabilities, wanted)
def test_no_segment_starts_in_discarded_audio(windows: list[float], wanted: EndpointingRules) -> None:
    endpointer = Endpointer(wanted)
    kept = 0
    for at, probability in enumerate(windows):
        for segment in endpointer.feed([probability]):
            assert segment.start >= kept
        assert endpointer.retain_from >= kept
        kept = endpointer.retain_from
        assert (at + 1) * VOICE_WINDOW - kept <= (wanted.max_segment_s + 1) * SAMPLE_RATE, "the buffer has no limit"
    assert all(segment.start >= kept for segment in endpointer.flush(len(windows) * VOICE_WINDOW))


@given(st.lists(st.floats(0, 0.349), max_size=400), wanted)
def test_without_voice_there_is_no_segment(windows: list[float], wanted: EndpointingRules) -> None:
    assert segments_of(windows, wanted) == []


def seconds(value: float) -> int:
    return round(value * SAMPLE_RATE / VOICE_WINDOW)


def speech(*parts: tuple[float, float]) -> list[float]:
    """Windows for parts of (probability, seconds)."""
    return [p for p, duration_s in parts for _ in range(seconds(duration_s))]


def test_a_pause_ends_a_segment_with_pre_roll_and_post_roll() -> None:
    (segment,) = segments_of(speech((0, 2), (0.9, 3), (0, 2)), EndpointingRules())
    assert segment.voice_start / SAMPLE_RATE == pytest.approx(2, abs=0.04)
    assert segment.start / SAMPLE_RATE == pytest.approx(2 - 0.35, abs=0.04)
    assert segment.end / SAMPLE_RATE == pytest.approx(5 + 0.2, abs=0.04)


def test_a_segment_is_returned_as_soon_as_the_pause_is_long_enough() -> None:
    endpointer = Endpointer(EndpointingRules())
    assert endpointer.feed(speech((0, 1), (0.9, 3), (0, 0.55))) == []
    assert len(endpointer.feed(speech((0, 0.1)))) == 1


def test_after_half_of_the_maximum_a_short_pause_ends_the_segment() -> None:
    short, long = speech((0.9, 8), (0, 0.3), (0.9, 5)), speech((0.9, 11), (0, 0.3), (0.9, 5))
    assert len(segments_of(short, EndpointingRules())) == 1
    assert len(segments_of(long, EndpointingRules())) == 2


def test_endless_speech_is_split_at_its_quietest_point_without_a_gap() -> None:
    windows = speech((0.9, 17.5), (0.5, 0.3), (0.9, 20))
    first, second = segments_of(windows, EndpointingRules())[:2]
    assert first.end / SAMPLE_RATE == pytest.approx(17.65, abs=0.2)
    assert second.start == first.end == second.voice_start


def test_a_blip_is_not_speech() -> None:
    assert segments_of(speech((0, 2), (0.9, 0.09), (0, 2)), EndpointingRules()) == []


def test_a_long_segment_is_split_at_its_quietest_points() -> None:
    (segment,) = segments_of(speech((0.9, 16), (0.25, 0.5), (0.9, 15), (0, 3)), RULES[1])
    (split,) = segment.splits
    assert split / SAMPLE_RATE == pytest.approx(16.25, abs=0.3)


def test_settings_override_the_endpointing_profile() -> None:
    quick = endpointing_rules(settings.load({}))
    assert (quick.commit_silence_s, quick.max_segment_s) == (0.6, 20)
    assert (quick.early_after_s, quick.early_silence_s) == (10, pytest.approx(0.2))
    service = endpointing_rules(settings.load({"STT_SERVER_ENDPOINTING": "service"}))
    assert (service.commit_silence_s, service.max_segment_s, service.early_after_s) == (1.5, 36, float("inf"))
    own = endpointing_rules(settings.load({"STT_SERVER_COMMIT_SILENCE_S": "1.5", "STT_SERVER_SEGMENT_MAX_S": "30"}))
    assert (own.commit_silence_s, own.max_segment_s, own.early_after_s) == (1.5, 30, 15)
    for wrong in (
        {"STT_SERVER_COMMIT_SILENCE_S": "0.05"},
        {"STT_SERVER_SEGMENT_MAX_S": "3"},
        {"STT_SERVER_ENDPOINTING": "slow"},
    ):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            settings.load(wrong)
