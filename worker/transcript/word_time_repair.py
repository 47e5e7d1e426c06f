"""Repairs missing and implausible word times inside a commit. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from worker.realtime.messages import WireWord
from worker.transcript.commit_audio import CommitAudio

MAX_EDGE_ERROR_S: Final = 0.02
"""Maximum distance between the start or end of a word and that of its sound, which is measured in steps of 10 ms."""
MAX_OUTSIDE_S: Final = 0.5
"""Times up to this far outside the sent audio are accepted, because word ends are inexact."""
MAX_EARLY_START_S: Final = 2.0
"""The start of a word is wrong if it is more than this before the audio of its commit."""
MAX_STEP_S: Final = 3.0
"""Maximum distance between the starts of two neighbouring words of a commit. A service commits at a longer pause."""

Times = list[tuple[float, float]]
"""Start and end of each word of a commit."""


def repaired_times(words: Sequence[WireWord], audio: CommitAudio) -> tuple[Times, frozenset[int]] | None:
    """Return the start and end of each word in the unit and from the origin that the service uses. Missing and
    implausible times are repaired.

    Also returns the indices of the words whose times were derived from their neighbours. Returns None if fewer than
    half of the words have usable times."""
    # If start and end of most words are exchanged, exchange them back. A single one is an inexact time.
    if 2 * sum(_is_reversed(w) for w in words) > len(words):
        words = [WireWord(w.text, w.end, w.start, w.confidence) if _is_reversed(w) else w for w in words]
    known = [None if w.start == 0.0 and not w.end else w.start for w in words]  # 0 to 0 means that there is no time
    starts = _without_strays(known, audio.after_s - MAX_EARLY_START_S, audio.sent_s + MAX_OUTSIDE_S)
    good = _rising(starts)
    # Starts that are mostly equal are not the times of words.
    distinct = {starts[i] for i in good}
    if not good or len(good) * 2 < len(words) or (len(words) > 1 and len(distinct) * 2 <= len(good)):
        return None
    times: Times = []
    for index, word in enumerate(words):
        following = next((starts[i] for i in good if i > index), None)
        previous = times[-1][1] if times else following
        start = starts[index] if index in good else previous
        begin = float(start if start is not None else 0.0)
        end = word.end if word.end is not None and word.end > begin and index in good else None
        if end is None or (following is not None and end > following + (following - begin)):
            end = following if following is not None else begin
        times.append((begin, max(begin, end)))
    return times, frozenset(range(len(words))) - frozenset(good)


def with_filled_times(times: Times, missing: frozenset[int], audio: CommitAudio) -> Times:
    """Return the times (seconds since the start of the session). The words with the indices `missing` are moved to the
    sound between their neighbours."""
    filled_in = list(times)
    for index in sorted(missing):
        if {index - 1, index + 1} & missing:
            continue  # the sound may belong to any of several missing words
        from_s = times[index - 1][1] if index else audio.after_s
        to_s = times[index + 1][0] if index + 1 < len(times) else audio.sent_s
        runs = [
            run for run in audio.sound.runs if run[0] >= from_s - MAX_EDGE_ERROR_S and run[1] <= to_s + MAX_EDGE_ERROR_S
        ]
        if runs:
            filled_in[index] = runs[0] if index else runs[-1]
    return filled_in


def _without_strays(starts: list[float | None], from_s: float, to_s: float) -> list[float | None]:
    """If most starts are within the audio (`from_s` to `to_s`), replace the starts outside the audio by None.

    If most starts are outside, the times have another unit or origin, and all starts are returned unchanged. This also
    applies if the starts outside continue those within the audio without a jump: a part of a long commit with times
    from the start of the segment may happen to be within the audio."""
    inside = [start is not None and from_s <= start <= to_s for start in starts]
    if sum(inside) * 2 <= len(starts):
        return starts
    known = [(start, good) for start, good in zip(starts, inside, strict=True) if start is not None]
    crossings = [later - start for (start, good), (later, also) in pairwise(known) if good != also]
    if crossings and all(0.0 <= step_s <= MAX_STEP_S for step_s in crossings):
        return starts
    return [start if good else None for start, good in zip(starts, inside, strict=True)]


def _is_reversed(word: WireWord) -> bool:
    """Whether the end of a word is before its start, as if the service had exchanged them."""
    return word.start is not None and word.end is not None and 0.0 < word.end < word.start


def _rising(starts: Sequence[float | None]) -> list[int]:
    """Return the indices of the longest rising subsequence of the starts.

    This omits only the starts that break the order. Their neighbours are not omitted."""
    # For each length: the subsequence of this length that ends with the lowest start, and this start.
    best: list[list[int]] = []
    tails: list[float] = []
    for index, start in enumerate(starts):
        if start is None:
            continue
        place = bisect_right(tails, start)
        chain = [*(best[place - 1] if place else []), index]
        tails[place : place + 1], best[place : place + 1] = [start], [chain]
    return best[-1] if best else []
