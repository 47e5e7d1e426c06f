"""Computes the maximum length of the audio in a media container. No I/O."""

from __future__ import annotations

import re
from typing import Any, Final

_TAG_TIME: Final = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_MARGIN_S: Final = 1.0
_MAX_RATE_ERROR: Final = 2.0
"""Audio with a variable bit rate lasts at most this many times as long as the declared bit rate says."""


def latest_end_s(format_name: str, stream: Any, size_bytes: int, zero_s: float) -> float | None:
    """Return a position, in seconds, before which the audio of a stream certainly ends, or None if no such position is
    known.

    `size_bytes`: size of the file. `zero_s`: the timestamp of position 0. An AVI file has no timestamps: FFmpeg
    computes them from the sizes of the chunks. The chunks cannot be larger than the file, so the size of the file
    limits the timestamps. In Matroska, the tag DURATION is written at the end of a recording and includes its pauses.
    Browsers and call recorders do not write the tag, so the length of their pauses is not limited."""
    names = set(format_name.split(","))
    if "avi" in names:
        rate = stream.codec_context.bit_rate if stream.codec_context is not None else None
        if not rate or rate <= 0 or not stream.time_base:
            return None
        start_s = max(0.0, float((stream.start_time or 0) * stream.time_base) - zero_s)
        return start_s + size_bytes * 8 / float(rate) * _MAX_RATE_ERROR + _MARGIN_S
    if names & {"matroska", "webm"} and (tag := seconds_of_tag(stream.metadata.get("DURATION", ""))):
        return tag + _MARGIN_S
    return None


def seconds_of_tag(tag: str) -> float | None:
    """Parse the time in a Matroska tag, such as 00:00:20.032000000, to seconds."""
    match = _TAG_TIME.fullmatch(tag.strip())
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None
