"""Regroups audio of any block length into blocks of equal length. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from worker.audio.decoding.downmix import Samples


def regrouped(pieces: Iterator[Samples], size: int) -> Iterator[Samples]:
    """Join the arrays `pieces`, and yield the signal in arrays of `size` samples. The last array may be shorter."""
    pending: list[Samples] = []
    count = 0
    for piece in pieces:
        pending.append(piece)
        count += len(piece)
        if count >= size:
            signal = np.concatenate(pending)
            whole = count - count % size
            for at in range(0, whole, size):
                yield signal[at : at + size].copy()
            pending, count = [signal[whole:]], count - whole
    if count:
        yield np.concatenate(pending)
