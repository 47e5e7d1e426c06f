"""Memory to decode into, which the sources of a process share: each needs it only for a moment.

With a buffer of its own, each of hundreds of live sources would hold one, and none of them would be in the processor's
cache when its turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_MAX_FREE_BUFFERS: Final = 4

_free: list[npt.NDArray[np.uint8]] = []


@contextmanager
def scratch(frames: int, channels: int, dtype: type[np.int16] | type[np.float32]) -> Iterator[npt.NDArray[Any]]:
    """An array[frames, channels] with anything in it, the caller's until the end of the block. For any thread."""
    values = frames * channels
    wanted = values * np.dtype(dtype).itemsize
    try:
        memory = _free.pop()  # the one used last
    except IndexError:
        memory = np.empty(0, np.uint8)
    if len(memory) < wanted:
        memory = np.empty(wanted, np.uint8)
    try:
        yield memory[:wanted].view(dtype).reshape(frames, channels)
    finally:
        if len(_free) < _MAX_FREE_BUFFERS:
            _free.append(memory)
