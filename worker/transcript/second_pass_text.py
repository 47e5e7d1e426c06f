"""Removes the surrounding text from the text of a second pass (pure).

A second pass streams a part of the source again, with some audio around it that already has text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from worker.realtime.text_match import letters
from worker.transcript.model import Segment, Word
from worker.transcript.resume_overlap import text_of_words

SAME_WORD_TOLERANCE_S: Final = 0.4
"""Maximum distance between the middles of the same word in two sessions."""
MAX_DUPLICATE_DISTANCE_S: Final = 2.0
"""Text further away than this is not a duplicate."""
MIN_SAME_TEXT_SHARE: Final = 0.6
"""Minimum share of the words of a text, in order, that a known text contains. Two transcripts differ in a few words."""
MAX_WORDS: Final = 400
"""Maximum number of compared words. A commit of 36 s has 150; a hostile one must not block the event loop."""
ORDER_STEP_S: Final = 0.001
"""Distance between the starts of two segments whose order is known but not their times."""
MIN_SINGLE_WORD_LETTERS: Final = 4
"""A single word with fewer letters is not evidence."""

_TOKEN: Final = re.compile("[\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]|[^\\W_]+")


def new_part(
    segment: Segment, known: Sequence[Segment], start_s: float, end_s: float, *, paced: bool
) -> Segment | None:
    """The new part of `segment`, which a second pass over file seconds `start_s` to `end_s` committed.

    `known`: the other segments of the section, in order of time. `paced`: audio is sent in real time, so text without
    times belongs to the end of its segment, not to its start. Returns None if all text is known.
    """
    if segment.words:
        return _timed(segment, known, start_s, end_s)
    near = [s for s in known if s.start <= end_s and s.end >= start_s - MAX_DUPLICATE_DISTANCE_S]
    new = _untimed(segment, near)
    return None if new is None else _in_order(new, [s for s in near if not s.words], start_s, paced=paced)


def _timed(segment: Segment, known: Sequence[Segment], start_s: float, end_s: float) -> Segment | None:
    around = [
        w
        for s in known
        for w in s.words
        if start_s - MAX_DUPLICATE_DISTANCE_S <= w.end and w.start <= end_s + MAX_DUPLICATE_DISTANCE_S
    ]
    fresh = [w for w in segment.words if start_s <= _middle(w) <= end_s and not any(_same(w, k) for k in around)]
    if len(fresh) == len(segment.words):
        return segment
    if not fresh:
        return None
    text = text_of_words(segment.text, segment.words, fresh)
    update = {"text": text, "words": tuple(fresh), "start": fresh[0].start, "end": max(w.end for w in fresh)}
    return segment.model_copy(update=update)


def _untimed(segment: Segment, near: Sequence[Segment]) -> Segment | None:
    """The new part of a segment without word times, found by its text alone.

    If the surrounding text contains most words of the segment, no part is new. If the surrounding text ends within the
    segment, only the rest is new."""
    places = list(_TOKEN.finditer(segment.text))
    text = [place[0].lower() for place in places[:MAX_WORDS]]
    said = [token.lower() for s in near for token in _TOKEN.findall(s.text)][-MAX_WORDS:]
    again = _said_again(said, text)
    rest = places[again:]
    if not rest or (len(places) <= MAX_WORDS and _share(said, text[again:]) >= MIN_SAME_TEXT_SHARE):
        return None
    return segment.model_copy(update={"text": segment.text[rest[0].start() :]}) if again else segment


def _said_again(said: Sequence[str], text: Sequence[str]) -> int:
    """Number of words at the start of `text` that are repeated: up to the place where the end of `said` matches."""
    # The longest match first: a short one may be a common phrase elsewhere in the text.
    for count in range(min(len(said), len(text)), 0, -1):
        for at in range(len(text) - count + 1):
            if text[at : at + count] == said[-count:] and _sure(said, text[: at + count], count):
                return at + count
    return 0


def _sure(said: Sequence[str], text: Sequence[str], count: int) -> bool:
    """Whether all of `text` is known. Its last `count` words are equal to the last words of `said`."""
    if count == len(text):
        return count > 1 or len(text[0]) >= MIN_SINGLE_WORD_LETTERS
    return count > 1 and _share(said[-2 * len(text) :], text) >= MIN_SAME_TEXT_SHARE


def _share(said: Sequence[str], text: Sequence[str]) -> float:
    """Share of the words of `text` (0 to 1) that `said` contains in the same order, two or more at a time."""
    blocks = SequenceMatcher(None, said, text, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size > 1 or len(text) == 1) / max(1, len(text))


def _in_order(segment: Segment, near: Sequence[Segment], start_s: float, *, paced: bool) -> Segment:
    """The segment with a start that sorts it correctly among estimated segments, which may overlap with it."""
    # In real time, text without times ends where its speech ends, so the new text comes before it. Above real time,
    # its speech may be anywhere before, so the new text comes after it.
    if paced:
        starts = [s.start for s in near if s.start >= start_s]
        start = max(start_s, min([segment.start, *(at - ORDER_STEP_S for at in starts)]))
    else:
        start = max([segment.start, *(s.start for s in near)])
    return segment.model_copy(update={"start": round(start, 3), "end": round(max(start, segment.end), 3)})


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _same(one: Word, other: Word) -> bool:
    return letters(one.text) == letters(other.text) and abs(_middle(one) - _middle(other)) <= SAME_WORD_TOLERANCE_S
