"""The items that a media container yields: decoded frames, lost packets, and the change to another stream. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class DecodedFrame(NamedTuple):
    """A frame of PyAV. `start_s`: its start on the timeline in seconds, or None without a timestamp."""

    frame: Any
    start_s: float | None


@dataclass(frozen=True, slots=True)
class LostPacket:
    """A packet that could not be decoded. If the container does not declare start or duration, `start_s` is None and
    `duration_s` is 0.0."""

    start_s: float | None
    duration_s: float
    reason: str
    position: int | None = None
    """Byte position of the packet in the file, or None if unknown."""


@dataclass(frozen=True, slots=True)
class OtherStream:
    """Reports that the stream has ended and that another stream continues it. `position`: byte position of the first
    packet of the new stream. `stream_id`: id of the new stream in the container."""

    position: int
    stream_id: int
