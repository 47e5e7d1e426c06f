"""Timestamps and samples that disagree: rounding, late packets, gaps, drift, overlaps, implausible jumps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tones
from tests.support.tones import ToneWord, speech
from worker.audio.decoding.stream_timeline import StreamTimeline, TimedBlock

RATE = 16000
DRIFT = "its timestamps and samples drift apart; pauses are lengthened or shortened to follow the timestamps"
FRAME = 320  # 20 ms


def frames_of(signal: np.ndarray, starts_s: Sequence[float | None], size: int = FRAME) -> list[TimedBlock]:
    cut = [signal[at : at + size] for at in range(0, len(signal), size)]
    return [TimedBlock(start, RATE, samples) for start, samples in zip(starts_s, cut, strict=True)]


def regular(signal: np.ndarray, size: int = FRAME) -> list[float]:
    return [at / RATE for at in range(0, len(signal), size)]


def placed(blocks: list[TimedBlock], length_s: float | None = None) -> tuple[np.ndarray, list[str]]:
    warnings: list[str] = []
    pieces = list(StreamTimeline(length_s, warnings.append).place(iter(blocks)))
    signal = np.concatenate([np.zeros(0, np.float32), *(piece.samples for piece in pieces)])
    return signal, list(dict.fromkeys(warnings))


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 0.1).astype(np.float32)


def spoken(seconds: float, seed: int = 1) -> tuple[list[ToneWord], np.ndarray]:
    words = list(speech(seconds - 1, seed))
    return words, tones.encode(words, RATE, duration_s=seconds)


def assert_words(signal: np.ndarray, words: Sequence[ToneWord], times_s: Sequence[float], within_s: float) -> None:
    found = tones.decode(signal)
    assert [w.number for w in found] == [w.number for w in words]
    assert max(abs(f.start - t) for f, t in zip(found, times_s, strict=True)) < within_s


# -- samples stay unchanged ----------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.0015, 0.0015), min_size=100, max_size=100), st.sampled_from([160, 320, 961]))
def test_rounded_timestamps_change_nothing(jitter: list[float], size: int) -> None:
    signal = noise(100 * size / RATE)
    starts = [at + late for at, late in zip(regular(signal, size), [0.0, *jitter[1:]], strict=True)]
    out, warnings = placed(frames_of(signal, starts, size))
    np.testing.assert_array_equal(out, signal)
    assert warnings == []


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(1, 90), max_size=20), st.floats(0.02, 5.0))
def test_single_late_packets_change_nothing(late: set[int], by_s: float) -> None:
    """Live recorders use the arrival time of a packet as its timestamp. The next test has two late packets in a row."""
    late = {number for number in late if number - 1 not in late}
    signal = noise(2)
    starts = [at + (by_s if number in late else 0.0) for number, at in enumerate(regular(signal))]
    out, warnings = placed(frames_of(signal, starts))
    np.testing.assert_array_equal(out, signal)
    assert warnings == []


def test_frames_without_timestamps_are_joined() -> None:
    signal = noise(3)
    out, warnings = placed(frames_of(signal, [None] * 150))
    np.testing.assert_array_equal(out, signal)
    assert warnings == []


# -- gaps -----------------------------------------------------------------------------------------------------------
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(8, 40), st.floats(0.02, 3.0)), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.0007]),
    st.booleans(),
)
def test_every_gap_from_20_ms_becomes_silence(
    holes: list[tuple[int, float]], rounding: float, milliseconds: bool
) -> None:
    signal = noise(4) + np.float32(1.0)  # no sample is zero
    starts, shift, at, expected = regular(signal), 0.0, 0, []
    for after, hole_s in holes:
        before, at = at, at + after
        shift += hole_s
        starts[at:] = [start + hole_s for start in starts[at:]]
        expected += [signal[before * FRAME : at * FRAME], np.zeros(round(hole_s * RATE), np.float32)]
    expected.append(signal[at * FRAME :])
    stamped = [round(start, 3) if milliseconds else start + rounding * (n % 2) for n, start in enumerate(starts)]
    out, warnings = placed(frames_of(signal, stamped))
    np.testing.assert_array_equal(out[out != 0], signal)  # nothing lost, nothing doubled
    first = [at for at in range(1, len(out)) if out[at] == 0 and out[at - 1] != 0]
    wanted, position = [], 0
    for piece in expected:
        wanted += [position] if piece[0] == 0 else []
        position += len(piece)
    assert np.abs(np.array(first) - np.array(wanted)).max() <= 0.003 * RATE
    assert warnings == ["has gaps in its timestamps; they are filled with silence"]


def test_a_late_start_becomes_silence() -> None:
    signal = noise(1)
    out, warnings = placed(frames_of(signal, [start + 15.0 for start in regular(signal)]))
    np.testing.assert_array_equal(out, np.concatenate([np.zeros(15 * RATE, np.float32), signal]))
    assert warnings == []


def test_the_priming_of_an_encoder_before_zero_is_dropped() -> None:
    signal = noise(1)
    out, warnings = placed(frames_of(signal, [start - 0.025 for start in regular(signal)]))
    np.testing.assert_array_equal(out, signal[400:])
    assert warnings == []


def test_a_start_long_before_zero_is_not_encoder_padding() -> None:
    signal = noise(1)
    out, _ = placed(frames_of(signal, [start - 5.0 for start in regular(signal)]))
    np.testing.assert_array_equal(out, signal)


# -- implausible jumps ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("jump_s", [-1.5, -20.0, -95000.0, 3700.0, 95443.7])
def test_an_implausible_jump_joins_the_audio(jump_s: float) -> None:
    signal = noise(4)
    starts = [at + (jump_s if at >= 2 else 0.0) for at in regular(signal)]
    out, warnings = placed(frames_of(signal, starts))
    np.testing.assert_array_equal(out, signal)
    assert len(warnings) == 1
    assert "which is implausible; the audio is joined there" in warnings[0]


def test_damaged_timestamps_do_not_make_many_hours_of_silence() -> None:
    signal = noise(4)
    starts = [at + 3000.0 * int(at / 0.2) for at in regular(signal)]  # a new gap of 50 minutes every 0.2 s
    out, warnings = placed(frames_of(signal, starts))
    assert len(out) <= len(signal) + 3600 * RATE
    assert any("which is implausible; the audio is joined there" in text for text in warnings)


def test_a_long_gap_within_the_length_of_the_container_is_accepted() -> None:
    signal = noise(4)
    starts = [at + (4000.0 if at >= 2 else 0.0) for at in regular(signal)]
    out, _ = placed(frames_of(signal, starts), length_s=4004.0)
    assert len(out) == 4004 * RATE


def test_a_long_gap_beyond_the_latest_possible_end_is_joined() -> None:
    signal = noise(4)
    starts = [at + (2400.0 if at >= 2 else 0.0) for at in regular(signal)]
    warnings: list[str] = []
    pieces = StreamTimeline(None, warnings.append, latest_end_s=9.0).place(iter(frames_of(signal, starts)))
    assert sum(len(piece.samples) for piece in pieces) == len(signal)
    assert any("which is implausible; the audio is joined there" in text for text in warnings)


def test_one_wrong_timestamp_of_a_transport_stream_is_ignored() -> None:
    """A transport stream has one timestamp for a dozen frames."""
    signal = noise(6)
    starts: list[float | None] = [at if n % 16 == 0 else None for n, at in enumerate(regular(signal))]
    starts[96] = 500.0
    out, warnings = placed(frames_of(signal, starts))
    np.testing.assert_array_equal(out, signal)
    assert warnings == []


# -- drift and overlaps ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("drift", [-0.05, -0.02, -0.005, -0.001, -0.0002, 0.0002, 0.001, 0.005, 0.02, 0.05])
def test_words_follow_drifting_timestamps(drift: float) -> None:
    words, signal = spoken(40)
    out, warnings = placed(frames_of(signal, [at * (1 + drift) for at in regular(signal)]))
    assert_words(out, words, [w.start * (1 + drift) for w in words], 0.03)
    assert abs(len(out) / len(signal) - 1 - drift) < 0.001
    assert warnings in ([DRIFT], [])


@pytest.mark.parametrize("drift", [-0.01, 0.01])
def test_audio_without_a_pause_follows_drifting_timestamps(drift: float) -> None:
    signal = noise(30)
    out, _ = placed(frames_of(signal, [at * (1 + drift) for at in regular(signal)]))
    assert abs(len(out) / RATE - 30 * (1 + drift)) < 0.03


@pytest.mark.parametrize("overlap_s", [0.02, 0.1, 0.4, 0.9])
def test_overlapping_audio_loses_no_word(overlap_s: float) -> None:
    words, signal = spoken(30)
    at = next(w.start for w in words if w.start > 10) - 0.03
    starts = [t - (overlap_s if t >= at else 0.0) for t in regular(signal)]
    out, _ = placed(frames_of(signal, starts))
    found = tones.decode(out)
    assert [w.number for w in found] == [w.number for w in words]
    late = {w.number: w.start for w in words}
    assert all(abs(f.start - late[f.number] + overlap_s) < 0.03 for f in found if late[f.number] > 20)


# -- damage ----------------------------------------------------------------------------------------------------------
def test_lost_packets_keep_their_length_and_reason() -> None:
    signal = noise(2)
    blocks = frames_of(signal, regular(signal))
    lost = TimedBlock(blocks[50].start_s, RATE, np.zeros(FRAME, np.float32), "bad data")
    pieces = list(StreamTimeline(None, pytest.fail).place(iter([*blocks[:50], lost, *blocks[51:]])))
    assert sum(len(piece.samples) for piece in pieces) == len(signal)
    assert [piece.lost for piece in pieces if piece.lost] == ["bad data"]


def test_a_gap_after_damage_of_unknown_length_counts_as_lost() -> None:
    signal = noise(2)
    blocks = frames_of(signal, [at + (3.0 if at >= 1 else 0.0) for at in regular(signal)])
    blocks.insert(50, TimedBlock(None, RATE, np.zeros(0, np.float32), "bad data"))
    pieces = list(StreamTimeline(None, lambda _: None).place(iter(blocks)))
    assert sum(len(piece.samples) for piece in pieces if piece.lost) == 3 * RATE


@pytest.mark.parametrize(("between", "counts"), [(5, True), (45, False)])
def test_only_a_gap_soon_after_damage_counts_as_lost(between: int, counts: bool) -> None:
    """FFmpeg reports the damage before it returns the frames of earlier packets."""
    signal = noise(2)
    blocks = frames_of(signal, [at + (3.0 if at >= 1 else 0.0) for at in regular(signal)])
    blocks.insert(50 - between, TimedBlock(None, RATE, np.zeros(0, np.float32), "bad data"))
    pieces = list(StreamTimeline(None, lambda _: None).place(iter(blocks)))
    assert sum(len(piece.samples) for piece in pieces if piece.lost) == (3 * RATE if counts else 0)
