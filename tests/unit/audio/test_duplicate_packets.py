"""Duplicate packets are dropped. Joined files that begin with equal packets are read completely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import tones
from tests.support.timedmedia import write_timed
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.duplicate_packets import RepeatFilter
from worker.audio.pcm_frames import wire_frames

LENGTH_S = 3.0


class Packet(bytes):
    """Bytes with a timestamp."""

    pts: int | None

    @property
    def size(self) -> int:
        return len(self)


def packets(content: str, first: int = 0) -> Iterator[Packet]:
    """One packet per letter of `content`."""
    for pts, letter in enumerate(content, first):
        packet = Packet(letter.encode())
        packet.pts = pts
        yield packet


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([("abcdef", 0), ("def", 3), ("ghi", 6)], "abcdefghi"),
        ([("abcdef", 0), ("abcdef", 0)], "abcdef"),
        ([("abc", 0), ("ef", 4), ("abcdefg", 0)], "abcefdg"),  # one was lost the first time
        ([("..abc", 0), ("..def", 0), ("..ghi", 0)], "..abc..def..ghi"),
        ([("..a..b..", 0), ("..c..b..d", 0)], "..a..b....c..b..d"),
        ([("abc", 0), ("xyz", 0)], "abcxyz"),
    ],
)
def test_only_duplicate_packets_are_dropped(content: list[tuple[str, int]], expected: str) -> None:
    repeats = RepeatFilter()
    new = [one for letters, first in content for packet in packets(letters, first) for one in repeats.push(packet)]
    assert b"".join(new).decode() == expected


@pytest.mark.parametrize("codec", ["aac", "mp2", "ac3"])
def test_joined_transport_streams_are_read_completely(tmp_path: Path, codec: str) -> None:
    """Both streams begin with silence at the same timestamp."""
    spoken = [list(tones.speech(LENGTH_S - 0.3, seed=seed)) for seed in (1, 2, 4)]
    data = b""
    for words in spoken:
        signal = tones.encode(words, 48000, duration_s=LENGTH_S)
        data += write_timed(tmp_path / "one.ts", signal, container="mpegts", codec=codec, rate=48000).read_bytes()
    path = tmp_path / "a.ts"
    path.write_bytes(data)
    with open_source(path) as source:
        found = tones.decode_pcm16(b"".join(wire_frames(source, 16000, 4000)))
    words = [replace(w, start=w.start + n * LENGTH_S) for n, one in enumerate(spoken) for w in one]
    assert [w.number for w in found] == [w.number for w in words]
    assert max(abs(a.start - b.start) for a, b in zip(found, words, strict=True)) < 0.2
