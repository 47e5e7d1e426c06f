"""Removes a repetition loop from the end of a recognized segment. No I/O.

Whisper models sometimes repeat the same few tokens until the maximum length, mostly after the last word of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MIN_REPEATS: Final = 4
_MAX_UNIT: Final = 30
"""Maximum number of tokens that are repeated as one."""


def without_final_loop(tokens: Sequence[int], duration_s: float) -> list[int]:
    """Return the tokens with only the first round of a repetition loop at their end. Empty if the loop is all.

    `duration_s` is the length of the segment in seconds. Speakers repeat themselves too, but a loop has more tokens
    than can be spoken in this time.
    """
    if len(tokens) <= 8 + 5 * duration_s:
        return list(tokens)
    for unit in range(1, min(_MAX_UNIT, len(tokens) // _MIN_REPEATS) + 1):
        start = _loop_start(tokens, unit)
        if len(tokens) - start >= _MIN_REPEATS * unit:
            return list(tokens[: start + unit]) if start else []
    return list(tokens)


def _loop_start(tokens: Sequence[int], unit: int) -> int:
    """Return the first index from which each token equals the one `unit` tokens later, up to the end."""
    start = len(tokens) - unit
    while start and tokens[start - 1] == tokens[start - 1 + unit]:
        start -= 1
    return start
