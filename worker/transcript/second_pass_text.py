"""Removes text that is already known from the text of a second pass. No I/O.

A second pass streams a part of the source again, because the service gave no text for it. Some audio before and after
this part is also streamed. The text of that audio is known from the first pass.
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
"""Known text that is further away from the streamed part than this is not compared."""
MIN_SAME_TEXT_SHARE: Final = 0.6
"""A text counts as known if known text contains at least this share of its words in the same order. It is below 1
because two transcripts of the same speech differ in a few words."""
MAX_WORDS: Final = 400
"""Maximum number of compared words, so that a malicious text cannot block the event loop. A commit of 36 s has 150."""
ORDER_STEP_S: Final = 0.001
"""Difference between the starts of two segments if their order is known but their times are not."""
MIN_SINGLE_WORD_LETTERS: Final = 4
"""A single equal word with fewer letters is not evidence that text is repeated."""

_TOKEN: Final = re.compile("[\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]|[^\\W_]+")


def new_part(
    segment: Segment, known: Sequence[Segment], start_s: float, end_s: float, *, paced: bool
) -> Segment | None:
    """Return the part of `segment` that is new, or None if all of its text is known.

    `segment`: a segment that was committed in a second pass over the range `start_s` to `end_s` (positions in the file,
    in seconds). `known`: the other segments of the section, in order of time. `paced`: audio is sent in real time, so
    the speech of a segment without word times is at the end of its time range, not at its start.
    """
    if segment.words:
        return _timed(segment, known, start_s, end_s)
    near = [s for s in known if s.start <= end_s and s.end >= start_s - MAX_DUPLICATE_DISTANCE_S]
    new = _untimed(segment, near)
    return None if new is None else _in_order(new, [s for s in near if not s.words], start_s, paced=paced)


def _timed(segment: Segment, known: Sequence[Segment], start_s: float, end_s: float) -> Segment | None:
    """Return the new part of a segment with word times. A word is new if it is in the range, and no known segment
    contains it."""
    around = [
        w
        for s in known
        for w in s.words
        if start_s - MAX_DUPLICATE_DISTANCE_S <= w.end and w.start <= end_s + MAX_DUPLICATE_DISTANCE_S
    ]
    fresh = [w for w in segment.words if start_s <= w.middle <= end_s and not any(_same(w, k) for k in around)]
    if len(fresh) == len(segment.words):
        return segment
    if not fresh:
        return None
    text = text_of_words(segment.text, segment.words, fresh)
    update = {"text": text, "words": tuple(fresh), "start": fresh[0].start, "end": max(w.end for w in fresh)}
    return segment.model_copy(update=update)


def _untimed(segment: Segment, near: Sequence[Segment]) -> Segment | None:
    """Return the new part of a segment without word times, found by its text alone, or None if no part is new.

    If the text of the segments `near` contains most of the segment's words, no part is new. If the segment's first
    words repeat the end of that text, only the words after them are new."""
    places = list(_TOKEN.finditer(segment.text))
    text = [place[0].lower() for place in places[:MAX_WORDS]]
    said = [token.lower() for s in near for token in _TOKEN.findall(s.text)][-MAX_WORDS:]
    again = _said_again(said, text)
    rest = places[again:]
    if not rest or (len(places) <= MAX_WORDS and _share(said, text[again:]) >= MIN_SAME_TEXT_SHARE):
        return None
    return segment.model_copy(update={"text": segment.text[rest[0].start() :]}) if again else segment


def _said_again(said: Sequence[str], text: Sequence[str]) -> int:
    """Return the number of words at the start of `text` that repeat the end of `said`, the known words.

    The last words of `said` also occur in `text`; the repeated words end at that position."""
    # Longer matches are tried first, because a short one may be a common phrase that occurs elsewhere in the text.
    for count in range(min(len(said), len(text)), 0, -1):
        for at in range(len(text) - count + 1):
            if text[at : at + count] == said[-count:] and _sure(said, text[: at + count], count):
                return at + count
    return 0


def _sure(said: Sequence[str], text: Sequence[str], count: int) -> bool:
    """Whether all of `text` repeats words of `said`, if its last `count` words equal the last words of `said`."""
    if count == len(text):
        return count > 1 or len(text[0]) >= MIN_SINGLE_WORD_LETTERS
    return count > 1 and _share(said[-2 * len(text) :], text) >= MIN_SAME_TEXT_SHARE


def _share(said: Sequence[str], text: Sequence[str]) -> float:
    """Return the share of the words of `text` (0 to 1) that `said` contains in the same order.

    Single equal words are ignored: only runs of two or more equal words are added up, unless `text` is a single
    word."""
    blocks = SequenceMatcher(None, said, text, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size > 1 or len(text) == 1) / max(1, len(text))


def _in_order(segment: Segment, near: Sequence[Segment], start_s: float, *, paced: bool) -> Segment:
    """Return the segment with a changed start, so that it is sorted correctly among the segments `near`. Those segments
    have estimated times and may overlap with it."""
    # In real time, the estimated range of a known segment ends where its speech ends, so the new text comes before it.
    # Above real time, the known speech may be anywhere before that end, so the new text comes after the segment.
    if paced:
        starts = [s.start for s in near if s.start >= start_s]
        start = max(start_s, min([segment.start, *(at - ORDER_STEP_S for at in starts)]))
    else:
        start = max([segment.start, *(s.start for s in near)])
    return segment.model_copy(update={"start": round(start, 3), "end": round(max(start, segment.end), 3)})


def _same(one: Word, other: Word) -> bool:
    """Whether two sessions recognized the same word at about the same time."""
    return letters(one.text) == letters(other.text) and abs(one.middle - other.middle) <= SAME_WORD_TOLERANCE_S
