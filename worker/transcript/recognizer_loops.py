"""Finds loops: a text (the unit) that a recognizer in an endless loop wrote many times in a row. No I/O.

People repeat themselves too: "no, no, no", a name called twice, a chorus. Repeated text is a loop only if the unit is
repeated more often than people repeat themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_PERIOD: Final = 160
"""Number of tokens in the longest unit that is searched: a long sentence, or several short ones."""
SHORT_PERIOD: Final = 3
"""Number of tokens in the longest unit that counts as short."""
MIN_SHORT_TIMES: Final = 6
"""A short unit is a loop if it occurs at least this many times in a row. People say "no" five times."""
MIN_TIMES: Final = 4
"""A longer unit is a loop if it occurs at least this many times in a row. Three times is a figure of speech."""
_TOKEN: Final = re.compile(r"[^\W_㐀-鿿぀-ヿ가-힯\U00020000-\U0003ffff]+|[㐀-鿿぀-ヿ가-힯\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class Repetition:
    """The loops of one text."""

    share: float
    """Share of the tokens (0 to 1) that repeat the unit of a loop, without its first occurrence."""
    times: int
    """Number of times in a row that the most repeated unit occurs; 1 without a loop."""
    unit: str
    """The tokens of the most repeated unit, joined by spaces; "" without a loop."""


NONE: Final = Repetition(0.0, 1, "")


def tokens_of(text: str) -> list[str]:
    """Split a text into its words in lower case. A Chinese, Japanese or Korean character is a token by itself."""
    return _TOKEN.findall(text.casefold())


def repetition(tokens: Sequence[str]) -> Repetition:
    """Find the loops in a text. Costs about 10 ms for an hour of speech."""
    if len(tokens) < MIN_SHORT_TIMES:
        return NONE
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    text = np.fromiter((numbers[token] for token in tokens), np.int64, len(tokens))
    repeats = np.zeros(len(tokens), dtype=bool)
    worst, times = (0, 0), 1  # first and last token (exclusive) of the unit that occurs most times in a row
    for period in range(1, min(MAX_PERIOD, len(tokens) // MIN_TIMES) + 1):
        least = MIN_SHORT_TIMES if period <= SHORT_PERIOD else MIN_TIMES
        for start, end in _runs(text[period:] == text[:-period], period * (least - 1)):
            # Equal tokens at a distance of `period` from `start` to `end`: the first unit is no repetition.
            repeats[start + period : end + period] = True
            found = (end - start) // period + 1
            if found > times:
                worst, times = (start, start + period), found
    return Repetition(float(np.mean(repeats)), times, " ".join(tokens[slice(*worst)]))


def _runs(same: npt.NDArray[np.bool_], shortest: int) -> list[tuple[int, int]]:
    """Return the runs of at least `shortest` consecutive true values, as (start, end) with the end excluded."""
    edges = np.flatnonzero(np.diff(same, prepend=False, append=False))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(start, end) for start, end in pairs if end - start >= shortest]
