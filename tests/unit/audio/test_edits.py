"""Edit lists of MP4 and QuickTime that FFmpeg does not follow: no word is lost or repeated, and a warning is given."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support import tones
from tests.support.timedmedia import write_timed
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames

RATE = 44100
LENGTH_S = 4.0
WORDS = [ToneWord(n, start) for n, start in enumerate((0.3, 0.6, 0.9, 1.2, 2.4, 2.7, 3.0, 3.4))]
PAUSE_S = 2.0
EMPTY = -1.0

Edit = tuple[float, float, float]
"""An edit: its length in seconds, its start in the recording in seconds, and its speed."""


def with_edits(data: bytes, edits: list[Edit]) -> bytes:
    """Replaces the edit list of a file whose index is at its end."""
    table = b"".join(
        struct.pack(">Iii", round(long_s * 1000), -1 if at_s == EMPTY else round(at_s * RATE), round(speed * 0x10000))
        for long_s, at_s, speed in edits
    )
    at = data.index(b"elst") - 4
    old = int.from_bytes(data[at : at + 4], "big")
    new = struct.pack(">I4sII", 16 + len(table), b"elst", 0, len(edits)) + table
    changed = bytearray(data[:at] + new + data[at + old :])
    for name in (b"moov", b"trak", b"edts"):
        place = data.index(name) - 4
        size = int.from_bytes(data[place : place + 4], "big")
        changed[place : place + 4] = (size + len(new) - old).to_bytes(4, "big")
    return bytes(changed)


def read(path: Path) -> tuple[list[ToneWord], tuple[str, ...]]:
    with open_source(path) as source:
        return tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000))), source.warnings


def write(path: Path, kind: str, edits: list[Edit]) -> Path:
    container, codec = kind.split("-")
    write_timed(path, tones.encode(WORDS, RATE, duration_s=LENGTH_S), container=container, codec=codec, rate=RATE)
    path.write_bytes(with_edits(path.read_bytes(), edits))
    return path


@pytest.mark.parametrize("kind", ["mp4-aac", "mov-pcm_s16le", "mp4-flac"])
@pytest.mark.parametrize(
    "edits",
    [
        [(LENGTH_S / 2, 0.0, 2.0)],
        [(LENGTH_S * 2, 0.0, 0.5)],
        [(PAUSE_S, 0.0, 1.0), (1.0, PAUSE_S, 2.0)],
        [(PAUSE_S, 0.0, 1.0), (1.5, EMPTY, 1.0), (LENGTH_S - PAUSE_S, PAUSE_S, 1.0)],
    ],
    ids=["double", "half", "second-double", "pause"],
)
@pytest.mark.gate_sample(3)
def test_the_whole_recording_is_read_with_a_warning(tmp_path: Path, kind: str, edits: list[Edit]) -> None:
    words, warnings = read(write(tmp_path / "a.bin", kind, edits))
    assert [w.number for w in words] == [w.number for w in WORDS]
    assert any("its edit list changes" in text for text in warnings)


@pytest.mark.parametrize("kind", ["mp4-aac", "mov-pcm_s16le", "mp4-flac"])
@pytest.mark.parametrize(
    "edits",
    [
        [(1.0, EMPTY, 1.0), (LENGTH_S, 0.0, 1.0)],
        [(LENGTH_S - PAUSE_S, PAUSE_S, 1.0), (PAUSE_S, 0.0, 1.0)],
        [(LENGTH_S, 0.0, 0.0)],
    ],
    ids=["late", "other-order", "no-speed"],
)
def test_common_edits_are_followed(tmp_path: Path, kind: str, edits: list[Edit]) -> None:
    words, warnings = read(write(tmp_path / "a.bin", kind, edits))
    assert sorted(w.number for w in words) == [w.number for w in WORDS]
    assert not any("its edit list" in text for text in warnings)
