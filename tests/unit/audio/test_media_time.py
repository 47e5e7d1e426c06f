"""Words in media files have the times of the container: late starts, gaps, drift, overflows, duplicate packets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support import tones
from tests.support.timedmedia import write_timed
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames

WORDS = [ToneWord(n, 0.4 + 0.6 * n) for n in range(10)]
LENGTH_S = 6.5
SIGNALS = {rate: tones.encode(WORDS, rate, duration_s=LENGTH_S) for rate in (44100, 48000)}
KINDS = {
    "mp4": ("mp4", "aac"),
    "mov-pcm": ("mov", "pcm_s16le"),
    "mkv-flac": ("matroska", "flac"),
    "mkv-aac": ("matroska", "aac"),
    "mkv-ac3": ("matroska", "ac3"),
    "webm-opus": ("webm", "libopus"),
    "ts-aac": ("mpegts", "aac"),
    "ts-mp2": ("mpegts", "mp2"),
    "mpg-mp2": ("mpeg", "mp2"),
    "flv-mp3": ("flv", "libmp3lame"),
    "wmv": ("asf", "wmav2"),
}
PRIMED = ("mkv-aac", "mkv-ac3", "ts-aac", "ts-mp2", "mpg-mp2", "flv-mp3", "wmv")
"""Containers that do not declare the silence of the encoder at the start. Up to 50 ms remain."""


def write(path: Path, kind: str, time: Callable[[float], float], *, rate: int = 0, video_s: float = 0.0) -> Path:
    container, codec = KINDS[kind]
    rate = rate or (48000 if codec == "libopus" else 44100)
    return write_timed(path, SIGNALS[rate], container=container, codec=codec, rate=rate, time=time, video_s=video_s)


def read(path: Path) -> tuple[list[ToneWord], float, tuple[str, ...]]:
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
        return found, source.frames_decoded / source.info.sample_rate, source.warnings


def assert_heard(
    found: Sequence[ToneWord], time: Callable[[float], float], kind: str, words: Sequence[ToneWord] = WORDS
) -> None:
    assert [w.number for w in found] == [w.number for w in words]
    late = [f.start - time(w.start) for f, w in zip(found, words, strict=True)]
    assert min(late) > -0.03, late
    assert max(late) < (0.055 if kind in PRIMED else 0.03), late


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gate_sample(3)
def test_audio_that_starts_after_the_video_keeps_its_time(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.bin", kind, lambda at: at + 4.0, video_s=12.0)
    found, length_s, _ = read(path)
    assert_heard(found, lambda at: at + 4.0, kind)
    assert abs(length_s - LENGTH_S - 4.0) < 0.1


@pytest.mark.parametrize("kind", ["mp4", "mov-pcm", "mkv-flac", "webm-opus"])
def test_late_audio_without_video_keeps_its_time(tmp_path: Path, kind: str) -> None:
    found, _, warnings = read(write(tmp_path / "a.bin", kind, lambda at: at + 4.0))
    assert_heard(found, lambda at: at + 4.0, kind)
    assert warnings == ()


@pytest.mark.parametrize("hole_s", [0.02, 7.0])
@pytest.mark.parametrize("kind", ["mp4", "mkv-flac", "mkv-ac3", "webm-opus", "ts-mp2", "flv-mp3"])
@pytest.mark.gate_sample(3)
def test_a_gap_delays_the_words_after_it(tmp_path: Path, kind: str, hole_s: float) -> None:
    """Two gaps of equal length: after the fifth word and after the eighth."""

    def time(at: float) -> float:
        return at + hole_s * ((at > WORDS[4].end + 0.15) + (at > WORDS[7].end + 0.15))

    found, _, warnings = read(write(tmp_path / "a.bin", kind, time))
    assert_heard(found, time, kind)
    assert any("gaps in its timestamps" in w for w in warnings)


@pytest.mark.parametrize("kind", ["mkv-flac", "webm-opus"])
@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.gate_sample(4)
def test_a_recorder_that_paused_for_twenty_minutes_leaves_a_gap(tmp_path: Path, kind: str, has_length: bool) -> None:
    """Browsers and call recorders declare no length."""

    def time(at: float) -> float:
        return at + 1200.0 * (at > WORDS[4].end + 0.15)

    path = write(tmp_path / "a.bin", kind, time)
    if not has_length:
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOX"))
    found, length_s, _ = read(path)
    assert_heard(found, time, kind)
    assert abs(length_s - LENGTH_S - 1200.0) < 0.1


@pytest.mark.parametrize("codec", ["libmp3lame", "pcm_s16le", "ac3"])
@pytest.mark.parametrize("field", [28, 32, 36], ids=["scale", "rate", "start"])
@pytest.mark.parametrize("value", [1, 100, 1_000_000])
@pytest.mark.gate_sample(3)
def test_a_damaged_header_of_an_avi_file_makes_no_long_silence(
    tmp_path: Path, codec: str, field: int, value: int
) -> None:
    """The times in an AVI file are computed from the sizes of its chunks and from its header, which is wrong here."""
    path = tmp_path / "a.avi"
    write_timed(path, tones.encode(WORDS[:4], 32000, duration_s=2.0), container="avi", codec=codec, rate=32000)
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + field
    data[at : at + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)
    _, length_s, _ = read(path)
    assert length_s < 20.0


@pytest.mark.parametrize("drift", [-0.01, 0.01])
@pytest.mark.parametrize("kind", ["mp4", "mkv-flac", "webm-opus", "ts-mp2"])
@pytest.mark.gate_sample(3)
def test_words_follow_timestamps_that_drift_from_the_samples(tmp_path: Path, kind: str, drift: float) -> None:
    container, codec = KINDS[kind]
    rate, words = 48000, list(tones.speech(20, seed=3))
    signal = tones.encode(words, rate, duration_s=21)
    path = tmp_path / "a.bin"
    write_timed(path, signal, container=container, codec=codec, rate=rate, time=lambda at: at * (1 + drift))
    found, _, warnings = read(path)
    assert_heard(found, lambda at: at * (1 + drift), kind, words)
    assert any("drift apart" in w for w in warnings)


def test_a_timestamp_overflow_in_a_transport_stream_has_no_effect(tmp_path: Path) -> None:
    """Timestamps have 33 bits, which is 26.5 hours at 90 kHz."""
    start_s = 2**33 / 90_000 - 3.0
    options = {"mpegts_copyts": "1"}
    path = tmp_path / "a.ts"
    write_timed(path, SIGNALS[44100], container="mpegts", codec="mp2", time=lambda at: at + start_s, options=options)
    found, length_s, warnings = read(path)
    assert_heard(found, lambda at: at, "ts-mp2")
    assert (round(length_s, 1), warnings) == (LENGTH_S, ())


def test_a_reset_of_the_clock_in_a_transport_stream_makes_no_gap(tmp_path: Path) -> None:
    """The length comes from the last timestamps, so it does not confirm a gap."""
    path = write(tmp_path / "a.ts", "ts-mp2", lambda at: at + 50_000 * (at > LENGTH_S / 2))
    found, length_s, warnings = read(path)
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert abs(length_s - LENGTH_S) < 0.2
    assert any("which is implausible" in text for text in warnings)


def test_packets_that_were_sent_twice_are_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", "ts-mp2", lambda at: at)
    data = path.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    units = [n for n, p in enumerate(packets) if p[1] & 0x40 and (p[1] & 0x1F) << 8 | p[2] == 0x100]
    first, last = units[len(units) // 3], units[2 * len(units) // 3]
    path.write_bytes(b"".join([*packets[:last], *packets[first:last], *packets[last:]]))
    found, length_s, _ = read(path)
    assert [w.number for w in found] == [w.number for w in WORDS]
    assert abs(length_s - LENGTH_S) < 0.1


@pytest.mark.parametrize("kind", ["mp4", "mkv-flac"])
def test_a_start_in_the_middle_is_exact(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.bin", kind, lambda at: 1.0 + at * 1.01 + (0.5 if at > 3 else 0))
    with open_source(path) as source:
        whole = np.concatenate(list(source.blocks()))
        for start in (1, 48000, 150_077, len(whole) - 1):
            np.testing.assert_array_equal(np.concatenate(list(source.blocks(start, 0.3))), whole[start:])
