"""Merges the segments of all sections of a source into one transcript. No I/O.

If the cut between two sections is in a pause, they do not overlap, and their segments follow each other. If the cut is
in speech, the sections overlap. A time within the overlap is the handover: words before the handover are taken from the
earlier section, words after it from the later section. If the two sections place a word on different sides of the
handover, the word still appears exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge as by_time
from itertools import zip_longest
from typing import Final

from worker.realtime.text_match import letters
from worker.transcript.divided_segments import in_order
from worker.transcript.model import Segment, Word
from worker.transcript.resume_overlap import text_after, text_of_words

SAME_WORD_TOLERANCE_S: Final = 0.4
"""Maximum distance between the middles of the same word in two sessions."""
MIN_COMMON_LETTERS: Final = 4
"""Minimum number of letters and digits that two texts without word times must share to count as the same speech."""


def merge(segments: Iterable[Segment], handovers: Sequence[float | None]) -> list[Segment]:
    """Return all segments in the order of the file.

    `handovers`: for each section, the position in the file, in seconds, from which its words are used, or None if it
    does not overlap with the previous section. The segments of a section may be in any order, because a second pass
    adds segments at the end. A segment that surrounds others of its section is divided."""
    sections: dict[int, list[Segment]] = {}
    for segment in segments:
        sections.setdefault(segment.section, []).append(segment)
    merged: list[Segment] = []
    for number in sorted(sections):
        after = in_order(sections[number])
        handover = handovers[number] if number < len(handovers) else None
        if handover is not None and merged:
            merged, after = _join(merged, after, handover)
        merged += after
    return _trimmed(merged)


def merge_channels(
    segments: Sequence[Segment], handovers: Sequence[float | None], channels: Sequence[range]
) -> list[Segment]:
    """Merge the sections of each channel, then sort the segments of all channels by time.

    `handovers`: see `merge`. `channels`: the section numbers of each channel."""
    if len(channels) == 1:
        return merge(segments, handovers)
    each = (merge((s for s in segments if s.section in sections), handovers) for sections in channels)
    return list(by_time(*each, key=lambda segment: segment.start))


def _trimmed(segments: list[Segment]) -> list[Segment]:
    """Return the segments, with estimated ends limited to the start of the next segment."""
    trimmed = []
    for segment, after in zip_longest(segments, segments[1:]):
        if segment.timing == "estimated" and after is not None and segment.start <= after.start < segment.end:
            segment = segment.model_copy(update={"end": after.start})  # noqa: PLW2901
        trimmed.append(segment)
    return trimmed


def _join(before: list[Segment], after: list[Segment], handover: float) -> tuple[list[Segment], list[Segment]]:
    """Remove duplicate words from the segments of two overlapping sections. `before`: segments of the earlier section;
    `after`: segments of the later section; `handover`: see the module."""
    if not _timed_around(before, handover) or not _timed_around(after, handover):
        return before, _without_repeated(before, after)
    left = [w for s in before for w in s.words]
    right = [w for s in after for w in s.words]
    # Two sessions may place the same word on different sides of the handover. Then the rule by time would use the word
    # of both sections (doubled) or of neither (missed).
    doubled = [
        r for r in right if handover <= r.middle <= handover + SAME_WORD_TOLERANCE_S
        and any(_same(r, w) for w in left if w.middle < handover)
    ]  # fmt: skip
    missed = [
        w for w in left if handover <= w.middle <= handover + SAME_WORD_TOLERANCE_S
        and any(_same(r, w) for r in right if r.middle < handover)
    ]  # fmt: skip
    return (
        _only_words(before, [w for w in left if w.middle < handover or w in missed]),
        _only_words(after, [w for w in right if w.middle >= handover and w not in doubled]),
    )


def _timed_around(segments: Sequence[Segment], handover: float) -> bool:
    """Whether all segments around the handover have word times."""
    around = [s for s in segments if s.start - SAME_WORD_TOLERANCE_S <= handover <= s.end + SAME_WORD_TOLERANCE_S]
    return all(s.words for s in around)


def _same(one: Word, other: Word) -> bool:
    """Whether two sessions recognized the same word at about the same time."""
    return letters(one.text) == letters(other.text) and abs(one.middle - other.middle) <= SAME_WORD_TOLERANCE_S


def _only_words(segments: list[Segment], words: Sequence[Word]) -> list[Segment]:
    """Remove all words from the segments that are not in `words`. Segments without word times are returned
    unchanged."""
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
    """Return `after` without the text at its start that equals the end of `before`.

    Used for segments without word times, because only equal text shows which words both sections contain."""
    # The overlap is short, so only three segments of each side are compared. The longest common text is removed.
    known = "".join(letters(s.text) for s in before[-3:])
    again = "".join(letters(s.text) for s in after[:3])
    common = next(
        (n for n in range(min(len(known), len(again)), MIN_COMMON_LETTERS - 1, -1) if known.endswith(again[:n])), 0
    )
    kept = []
    for segment in after:
        count = len(letters(segment.text))
        if common >= count > 0:  # all of this segment is repeated
            common -= count
            continue
        if common:
            segment = segment.model_copy(update={"text": text_after(segment.text, common)})  # noqa: PLW2901
            common = 0
        kept.append(segment)
    return kept


__all__ = ["merge", "merge_channels"]
