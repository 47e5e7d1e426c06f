"""Tells frames that may hold speech from those that hold next to nothing, by their level alone.

It errs on one side: noise counts as voiced. Whoever relies on it (flow control, the flush of the tail) loses only time
by that, while speech taken for silence would lose words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from worker.audio.frames import BYTES_PER_SAMPLE, level_dbfs

VOICED_DBFS: Final = -55.0
"""Speech, even far from the microphone, stays above about -45 dBFS; digital silence and idle lines below -60."""


class Frame(NamedTuple):
    """PCM on its way to the wire."""

    pcm: bytes
    """Signed 16-bit little-endian mono."""
    file_start: int
    """Position of its first sample in the file, in samples at the wire rate."""
    voiced: bool
    """Whether it may hold speech."""


def voiced_frames(pcm_frames: Iterable[bytes], file_start: int) -> Iterator[Frame]:
    """Give consecutive PCM frames, the first at `file_start` (samples), their place and their mark."""
    for pcm in pcm_frames:
        yield Frame(pcm, file_start, level_dbfs(pcm) > VOICED_DBFS)
        file_start += len(pcm) // BYTES_PER_SAMPLE
