"""Files whose header declares no length, or a wrong length, through the whole pipeline. Checks length, coverage and
words."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from tests.support import audiofiles, tones
from tests.support.audiofiles import write_words
from tests.support.mediafiles import MEDIA, Media, write_media
from tests.support.pipeline_run import assert_said, tone_service, transcribe
from tests.support.tones import ToneWord
from worker.audio.channel_selection import ChannelSelection

LENGTH_S = 8.0
WORDS = [ToneWord(n, 0.5 + 0.8 * n) for n in range(8)]
BY_NAME = {media.name: media for media in MEDIA}


def media(kind: Media) -> Callable[[Path], None]:
    return lambda path: write_media(path, tones.encode(WORDS, kind.rate, duration_s=LENGTH_S), kind) and None


def live_webm(path: Path) -> None:
    """A WebM file as browsers save it: without a duration, and with a segment of unknown size."""
    media(BY_NAME["webm-opus"])(path)
    data = path.read_bytes()
    at = data.index(b"\x18\x53\x80\x67") + 4
    data = data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :]
    at = data.index(b"\x44\x89\x88")
    data = data[:at] + b"\xec\x89" + bytes(9) + data[at + 11 :]
    path.write_bytes(data.replace(b"DURATION", b"LENGTHXX"))


def film(path: Path) -> None:
    """A file whose video track is longer than its audio track."""
    kind = BY_NAME["mkv-flac"]
    write_media(path, tones.encode(WORDS, kind.rate, duration_s=LENGTH_S), kind, video=True, video_s=LENGTH_S + 5)


def joined(path: Path) -> None:
    half = [word for word in WORDS if word.end < LENGTH_S / 2]
    rest = [ToneWord(w.number, w.start - LENGTH_S / 2) for w in WORDS[len(half) :]]
    one = write_words(path, half, 16000, audiofiles.OPUS, duration_s=LENGTH_S / 2).read_bytes()
    two = write_words(path, rest, 16000, audiofiles.OPUS, channels=2, duration_s=LENGTH_S / 2).read_bytes()
    path.write_bytes(one + two)


def wav_size(size: int, before: int = 0) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = bytearray(write_words(path, WORDS, 16000, duration_s=LENGTH_S).read_bytes())
        at = data.index(b"data")
        data[at + 4 : at + 8] = struct.pack("<I", size)
        junk = b"JUNK" + struct.pack("<I", before) + bytes(before) if before else b""
        path.write_bytes(bytes(data[:at]) + junk + bytes(data[at:]))

    return make


def caf_to_the_end(path: Path) -> None:
    soundfile.write(path, tones.encode(WORDS, 16000, duration_s=LENGTH_S), 16000, format="CAF", subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)


FILES = {
    "adts": (media(BY_NAME["aac"]), 0.07),
    "ac3": (media(Media("", "ac3", "ac3", "ac3", 48000)), 0.06),
    "mp2": (media(Media("", "mp2", "mp2", "mp2", 48000)), 0.06),
    "live-webm": (live_webm, 0.03),
    "film": (film, 0.03),
    "joined-ogg": (joined, 0.03),
    "wav-size-0-long-header": (wav_size(0, 9000), 0.03),
    "wav-size-too-small": (wav_size(20000), 0.03),
    "wav-size-minus-1": (wav_size(0xFFFFFFFF), 0.03),
    "caf-size-minus-1": (caf_to_the_end, 0.03),
    "g722-in-wav": (media(Media("", "wav", "wav", "g722", 16000)), 0.03),
    "mp3-in-wav": (media(Media("", "wav", "wav", "libmp3lame", 48000)), 0.06),
    "flac-in-ogg": (media(Media("", "ogg", "ogg", "flac", 16000)), 0.03),
    "mp4": (media(BY_NAME["mp4-aac"]), 0.06),
    "ts": (media(BY_NAME["ts-aac"]), 0.07),
}
WARNED = ("wav-size-0-long-header", "wav-size-too-small")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.gate_sample(3)
async def test_length_coverage_and_words_of_files_with_wrong_headers(tmp_path: Path, name: str) -> None:
    make, tolerance_s = FILES[name]
    path = tmp_path / "call.mp3"  # a wrong extension for all of them
    make(path)
    async with tone_service() as settings:
        one = await transcribe(path, settings, sessions=1)
        several = await transcribe(path, settings, sessions=8)
        split = await transcribe(path, settings, sessions=8, channels=ChannelSelection(channels="split"))
    for transcript in (one, several):
        assert_said(transcript, WORDS, tolerance_s)
    for transcript in (one, several, split):
        length = transcript.source.duration
        assert length == pytest.approx(LENGTH_S, abs=0.13)
        assert transcript.coverage.duration == length
        assert transcript.coverage.sent == pytest.approx(length * max(1, len(transcript.coverage.channels)), abs=0.01)
        assert transcript.coverage.complete
        assert [w for w in transcript.warnings if "cut off" in w or "damaged" in w] == []
        if name in WARNED:
            assert any("header" in w for w in transcript.warnings)
    assert one.source.duration == several.source.duration
