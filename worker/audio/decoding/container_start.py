"""Which timestamp of a media container is second 0 of its audio. No I/O."""

from __future__ import annotations

from typing import Final

_FROM_ZERO: Final = frozenset(("mov", "mp4", "matroska", "webm", "avi", "mxf", "nut"))
"""Containers whose timestamp 0 is second 0: audio whose first timestamp is 15 s begins at second 15."""
_LIVE: Final = frozenset(("flv", "asf"))
"""Containers like those of `_FROM_ZERO`, but the timestamps of a saved live stream may begin at any value."""
_FROM_FIRST: Final = frozenset(("mpegts", "mpeg", "rm", "ogg"))
"""Containers whose timestamps begin at any value: the start of the earliest stream is second 0. Timestamps of
containers that are in none of these lists are not used."""
_MAX_LIVE_START_S: Final = 60.0
_MAX_START_S: Final = 3600.0


def zero_of(format_name: str, start_s: float) -> tuple[bool, float]:
    """Return whether the timestamps of a container are used, and which timestamp is position 0 of its timeline.
    `format_name`: names of FFmpeg's demuxer, separated by commas. `start_s`: the earliest timestamp of all streams."""
    names = set(format_name.split(","))
    if names & _FROM_ZERO:
        return True, 0.0 if start_s <= _MAX_START_S else start_s
    if names & _LIVE:
        return True, 0.0 if start_s <= _MAX_LIVE_START_S else start_s
    return bool(names & _FROM_FIRST), start_s
