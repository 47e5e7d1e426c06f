"""The segments of all sections as one transcript (pure).

Where a cut lies in a pause, one section's words simply follow the other's. Where it lies in speech both heard the
overlap: the words before the handover are those of the section before, the words after it those of the next; a word
that the two place on different sides of it is kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge as by_time
from itertools import zip_longest
from typing import Final

from worker.realtime.text_match import letters
from worker.transcript.model import Segment, Word
from worker.transcript.overlap import text_after, text_of_words

SAME_WORD_S: Final = 0.4
"""Two sessions may place the middle of the same word this far apart."""
LEAST_LETTERS: Final = 4
"""Text without times must agree in this many letters and digits, for the overlap to be known by it."""


def merge(segments: Iterable[Segment], handovers: Sequence[float | None]) -> list[Segment]:
    """All segments in file order. `handovers`: for each section, the file second from which words are its own where it
    overlaps with the one before, None where it does not. Within a section, segments may be in any order: those of a
    second pass follow the others."""
    sections: dict[int, list[Segment]] = {}
    for segment in segments:
        sections.setdefault(segment.section, []).append(segment)
    merged: list[Segment] = []
    for number in sorted(sections):
        after = sorted(sections[number], key=lambda segment: segment.start)
        handover = handovers[number] if number < len(handovers) else None
        if handover is not None and merged:
            merged, after = _join(merged, after, handover)
        merged += after
    return _trimmed(merged)


def merge_channels(
    segments: Sequence[Segment], handovers: Sequence[float | None], channels: Sequence[range]
) -> list[Segment]:
    """`merge` for each channel by itself, then all by their time. `channels`: the sections of each."""
    if len(channels) == 1:
        return merge(segments, handovers)
    each = (merge((s for s in segments if s.section in sections), handovers) for sections in channels)
    return list(by_time(*each, key=lambda segment: segment.start))


def _trimmed(segments: list[Segment]) -> list[Segment]:
    """Estimated ends brought back to where the next measured segment begins."""
    trimmed = []
    for segment, after in zip_longest(segments, segments[1:]):
        if segment.timing == "estimated" and after is not None and segment.start <= after.start < segment.end:
            segment = segment.model_copy(update={"end": after.start})  # noqa: PLW2901
        trimmed.append(segment)
    return trimmed


def _join(before: list[Segment], after: list[Segment], handover: float) -> tuple[list[Segment], list[Segment]]:
    if not _timed_around(before, handover) or not _timed_around(after, handover):
        return before, _without_repeated(before, after)
    left = [w for s in before for w in s.words]
    right = [w for s in after for w in s.words]
    doubled = [
        r for r in right if handover <= _middle(r) <= handover + SAME_WORD_S
        and any(_same(r, w) for w in left if _middle(w) < handover)
    ]  # fmt: skip
    missed = [
        w for w in left if handover <= _middle(w) <= handover + SAME_WORD_S
        and any(_same(r, w) for r in right if _middle(r) < handover)
    ]  # fmt: skip
    return (
        _keep(before, [w for w in left if _middle(w) < handover or w in missed]),
        _keep(after, [w for w in right if _middle(w) >= handover and w not in doubled]),
    )


def _timed_around(segments: Sequence[Segment], handover: float) -> bool:
    """Whether what lies at the handover has word times."""
    around = [s for s in segments if s.start - SAME_WORD_S <= handover <= s.end + SAME_WORD_S]
    return all(s.words for s in around)


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _same(one: Word, other: Word) -> bool:
    return letters(one.text) == letters(other.text) and abs(_middle(one) - _middle(other)) <= SAME_WORD_S


def _keep(segments: list[Segment], words: Sequence[Word]) -> list[Segment]:
    """The segments with only these of their words; one without times stays as it is."""
    wanted = set(words)
    kept = []
    for segment in segments:
        stay = tuple(w for w in segment.words if w in wanted)
        if len(stay) == len(segment.words):
            kept.append(segment)
        elif stay:
            text = text_of_words(segment.text, segment.words, stay)
            update = {"text": text, "words": stay, "start": stay[0].start, "end": max(w.end for w in stay)}
            kept.append(segment.model_copy(update=update))
    return kept


def _without_repeated(before: list[Segment], after: list[Segment]) -> list[Segment]:
    """`after` without the text at its start that `before` ends with: all that tells without word times."""
    known = "".join(letters(s.text) for s in before[-3:])
    again = "".join(letters(s.text) for s in after[:3])
    common = next(
        (n for n in range(min(len(known), len(again)), LEAST_LETTERS - 1, -1) if known.endswith(again[:n])), 0
    )
    kept = []
    for segment in after:
        count = len(letters(segment.text))
        if common >= count > 0:
            common -= count
            continue
        if common:
            segment = segment.model_copy(update={"text": text_after(segment.text, common)})  # noqa: PLW2901
            common = 0
        kept.append(segment)
    return kept


__all__ = ["merge", "merge_channels"]
