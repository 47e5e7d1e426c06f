"""Media files through the whole pipeline: words have the times that a player shows, and lost audio is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding, write_words
from tests.support.pipeline_run import assert_said, tone_service, transcribe
from tests.support.timedmedia import mp4_of_two, ogg_checksum, ogg_pages, ogg_shifted, write_timed
from tests.support.tones import ToneWord

PART_S = 6.0
FIRST = [ToneWord(n, 0.4 + 0.5 * n) for n in range(10)]
SECOND = [ToneWord(100 + n, 0.4 + 0.5 * n) for n in range(10)]
RATE = 48000


def later(words: list[ToneWord], by_s: float) -> list[ToneWord]:
    return [ToneWord(w.number, w.start + by_s) for w in words]


def media(
    folder: Path, words: list[ToneWord], container: str, codec: str, rate: int = RATE, channels: int = 1
) -> bytes:
    signal, path = tones.encode(words, rate, duration_s=PART_S), folder / "part.bin"
    return write_timed(path, signal, container=container, codec=codec, rate=rate, channels=channels).read_bytes()


def stored(folder: Path, words: list[ToneWord], coding: Coding, rate: int, channels: int = 1) -> bytes:
    return write_words(folder / f"part.{coding.ending}", words, rate, coding, channels, duration_s=PART_S).read_bytes()


def joined(folder: Path, kind: str) -> bytes:
    """Return a file with two recordings, one after the other, which have different rates or channels."""
    if kind == "mp4":
        parts = [media(folder, w, "mp4", "aac", *f) for w, f in ((FIRST, (48000, 2)), (SECOND, (24000, 1)))]
        return mp4_of_two(parts[0], parts[1], (48000, 24000))
    if kind in ("adts", "mpegts"):
        return media(folder, FIRST, kind, "aac", 48000, 2) + media(folder, SECOND, kind, "aac", 22050)
    forms = {
        "mp3": ((audiofiles.MP3, 44100, 2), (audiofiles.MP3, 22050, 1)),
        "opus": ((audiofiles.OPUS, 48000, 2), (audiofiles.OPUS, 48000, 1)),
        "ogg": ((audiofiles.VORBIS, 44100, 2), (audiofiles.OPUS, 48000, 1)),
    }
    return b"".join(stored(folder, w, *form) for w, form in zip((FIRST, SECOND), forms[kind], strict=True))


@pytest.mark.parametrize("sessions", [1, 4])
@pytest.mark.parametrize("kind", ["mp3", "opus", "ogg", "mp4", "adts", "mpegts"])
@pytest.mark.gate_sample(3)
async def test_a_change_of_rate_or_channels_within_a_file(tmp_path: Path, kind: str, sessions: int) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(joined(tmp_path, kind))
    async with tone_service() as settings:
        transcript = await transcribe(path, settings, sessions=sessions)
    priming_s = 0.03 if kind in ("mp3", "opus", "ogg") else 0.12  # raw AAC does not contain the delay of its encoder
    assert_said(transcript, [*FIRST, *later(SECOND, PART_S)], priming_s)
    assert transcript.coverage.missing == ()
    assert transcript.source.duration == pytest.approx(2 * PART_S, abs=0.15)
    assert transcript.coverage.sent == pytest.approx(transcript.source.duration, abs=0.01)


@pytest.mark.parametrize("sessions", [1, 4])
@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "aac"), ("matroska", "flac"), ("webm", "libopus"), ("mpegts", "mp2")]
)
@pytest.mark.gate_sample(2)
async def test_late_audio_with_a_gap_and_drift_has_correct_times(
    tmp_path: Path, container: str, codec: str, sessions: int
) -> None:
    def time(at: float) -> float:
        return 3.0 + at * 1.004 + (0.04 if at > FIRST[5].end + 0.1 else 0.0)

    path, signal = tmp_path / "a.bin", tones.encode(FIRST, RATE, duration_s=PART_S)
    write_timed(path, signal, container=container, codec=codec, rate=RATE, time=time, video_s=10.0)
    async with tone_service() as settings:
        transcript = await transcribe(path, settings, sessions=sessions)
    assert_said(transcript, [ToneWord(w.number, time(w.start)) for w in FIRST])
    assert transcript.source.duration == pytest.approx(time(PART_S), abs=0.1)
    assert transcript.coverage.missing == ()


async def test_words_after_a_gap_in_granule_positions_have_correct_times(tmp_path: Path) -> None:
    data = stored(tmp_path, FIRST, audiofiles.OPUS, RATE)
    path = tmp_path / "a.opus"
    path.write_bytes(ogg_shifted(data, lambda n, _: 5 * RATE if n >= 3 else 0))
    async with tone_service() as settings:
        transcript = await transcribe(path, settings)
    at_s = 3 - 0.0065
    whole = [w for w in FIRST if not w.start - 0.04 < at_s < w.end + 0.04]
    heard = {word.text: word.start for segment in transcript.segments for word in segment.words}
    assert all(abs(heard[w.text] - w.start - (5.0 if w.start > at_s else 0.0)) < 0.03 for w in whole)
    assert transcript.source.duration == pytest.approx(PART_S + 5, abs=0.01)


async def test_a_part_that_cannot_be_decoded_is_missing(tmp_path: Path) -> None:
    """An Opus stream of a future version between two readable streams."""
    pages = ogg_pages(stored(tmp_path, SECOND, audiofiles.OPUS, RATE))
    at = pages[0].index(b"OpusHead") + 8
    head = pages[0][:at] + b"\xf0" + pages[0][at + 1 :]
    unknown = b"".join([head[:22] + ogg_checksum(head) + head[26:], *pages[1:]])
    path = tmp_path / "a.ogg"
    first, last = stored(tmp_path, FIRST, audiofiles.VORBIS, 44100, 2), stored(tmp_path, SECOND, audiofiles.OPUS, RATE)
    path.write_bytes(first + unknown + last)
    async with tone_service() as settings:
        transcript = await transcribe(path, settings)
    assert_said(transcript, [*FIRST, *later(SECOND, 2 * PART_S)])
    (gap,) = transcript.coverage.missing
    assert (gap.start, gap.end) == (pytest.approx(PART_S, abs=0.01), pytest.approx(2 * PART_S, abs=0.01))
    assert gap.reason.startswith("could not be decoded: ")
    assert not transcript.coverage.complete


async def test_damaged_packets_are_missing(tmp_path: Path) -> None:
    path, signal = tmp_path / "a.mp4", tones.encode(FIRST, RATE, duration_s=PART_S)
    data = bytearray(write_timed(path, signal, container="mp4", codec="aac", rate=RATE).read_bytes())
    at = data.index(b"mdat")
    size = int.from_bytes(data[at - 4 : at], "big")
    data[at + size // 3 : at + size // 2] = np.random.default_rng(8).bytes(size // 2 - size // 3)
    path.write_bytes(data)
    async with tone_service() as settings:
        transcript = await transcribe(path, settings)
    times = {w.text: w.start for w in FIRST}
    heard = [w for segment in transcript.segments for w in segment.words if w.text in times]
    assert all(abs(w.start - times[w.text]) < 0.03 for w in heard)
    assert len(heard) >= 6
    assert all(0.3 * PART_S < gap.start < gap.end < 0.6 * PART_S for gap in transcript.coverage.missing)
    assert transcript.coverage.missing != ()
