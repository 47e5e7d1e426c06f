"""Removes text that a resumed session commits again, for commits without word times. No I/O.

A resumed session starts before the end of the committed audio, so it repeats some words. Word times show which words
are repeated. Without word times, only the text can show which words are repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.realtime.text_match import letters
from worker.transcript.model import Word

MAX_END_LETTERS: Final = 600
"""Number of letters of the end of the committed text that stay in memory, if the service sends no word times. It is
more than anybody says in `resume_position.MAX_TEXT_DELAY_S`, so that a session that starts earlier is also known."""
MIN_LENGTH: Final = 6
"""The start of a commit repeats the end of the committed text only if they share at least this many Latin letters.
Fewer letters can be equal by chance."""
MIN_CERTAIN_LENGTH: Final = 12
"""Texts that share this many Latin letters are hardly equal by chance."""
WIDE_FROM: Final = "\u3040"
WIDE_LENGTH: Final = 3
"""A Chinese, Japanese or Korean character (from WIDE_FROM on) counts as this many Latin letters."""


class OverlapFilter:
    """Removes text from the commits of a new session that earlier sessions already committed.

    The filter stores the text of all commits after the last commit with a known position in the file. If a service
    sends no word times at all, no position is certain. Then the filter stores the end of the committed text, and a new
    session may begin anywhere in it."""

    def __init__(self) -> None:
        self._known = ""  # stored text, letters and digits only
        self.stores_end = False
        """Whether the stored text is the end of a longer text."""
        self._expected = ""  # the part of the stored text that the current session has yet to repeat
        self._anywhere = False  # whether the next commit may begin anywhere in the expected text

    def remember(self, text: str, *, end_only: bool = False) -> None:
        """Add the text of a commit whose position in the file is not known. `end_only`: store only the end of the
        text, because a new session starts near it."""
        self._known += letters(text)
        if end_only:
            self.stores_end = True
            self._known = self._known[-MAX_END_LETTERS:]

    def forget(self) -> None:
        """Discard the stored text. Call this after a commit with a known position: its audio will not be sent again."""
        self._known, self.stores_end = "", False

    def begin(self, *, again: bool) -> None:
        """Prepare for the commits of a new session.

        `again`: the session starts before the end of the stored text: at the last known position, so that the service
        will commit all stored text again, or somewhere in the text."""
        self._expected = self._known if again else ""
        self._anywhere = self.stores_end

    def new_text(self, text: str, *, later: bool = False) -> str:
        """Return `text` without the part that was committed before. Returns "" if no part of the text is new.

        `later`: there is sound for the text after the audio that was committed before, so that the same short text may
        have been said again."""
        heard, expected = letters(text), self._expected
        if not expected:
            return text
        if self._anywhere:
            return self._new_text_anywhere(text, later=later)
        if expected.startswith(heard):
            self._expected = expected[len(heard) :]
            return ""
        self._expected = ""
        if not heard.startswith(expected):
            return text  # recognized differently this time: a duplicate is better than a loss
        return text_after(text, len(expected))

    def _new_text_anywhere(self, text: str, *, later: bool) -> str:
        """Do the same as `new_text`, for a commit that may begin anywhere in the expected text."""
        heard, expected = letters(text), self._expected
        at = expected.find(heard)
        if at >= 0 and (not later or (_length(heard) >= MIN_CERTAIN_LENGTH and expected.count(heard) == 1)):
            self._expected = expected[at + len(heard) :]
            return ""
        for skipped in (0, *_first_word(text)):
            for at in range(len(expected)):
                rest = expected[at:]
                if _length(rest) < (MIN_CERTAIN_LENGTH if skipped else MIN_LENGTH):
                    break
                if len(rest) < len(heard) - skipped and heard.startswith(rest, skipped):
                    self._expected = ""
                    return text_after(text, skipped + len(rest))
        if later:
            self._expected = ""
        return text  # recognized differently this time, or new

    def new_words(self, words: Sequence[Word], *, later: bool = False) -> list[Word]:
        """Return the words that were not committed before: the first new word and all words after it. `later`:
        see `new_text`."""
        if not self._expected:
            return list(words)
        rest = letters(self.new_text(" ".join(word.text for word in words), later=later))
        fresh: list[Word] = []
        # Backwards, because the new text is at the end of the words.
        for word in reversed(words):
            if not rest:
                break
            fresh.insert(0, word)
            rest = rest[: -len(letters(word.text)) or None]
        return fresh


def _length(plain: str) -> int:
    """Return the length of a text in Latin letters. `plain`: letters and digits."""
    return sum(1 if character < WIDE_FROM else WIDE_LENGTH for character in plain)


def _first_word(text: str) -> tuple[int, ...]:
    """Return the number of letters of the first word of a text, as a tuple. Without spaces between the words, this is
    one character. The tuple is empty if the text is only one word."""
    first, *others = text.split(maxsplit=1)
    if letters(first)[:1] >= WIDE_FROM:
        return (1,)
    return (len(letters(first)),) if others else ()


def text_of_words(text: str, words: Sequence[Word], kept: Sequence[Word]) -> str:
    """Return the part of a commit's text that belongs to the words `kept`, which are some of the commit's `words`.

    If the kept words are consecutive, the result is a part of the original text, with its punctuation. If they contain
    the first word, the text before it is also kept, such as a quotation mark or a word without times. Otherwise the
    result is the kept words, joined by spaces."""
    if not kept:
        return ""
    first = next((i for i, word in enumerate(words) if word == kept[0]), 0)
    last = first + len(kept)
    plain = " ".join(w.text for w in kept)
    if list(words[first:last]) != list(kept):
        return plain
    places, position = [], 0
    for word in words[: last + 1]:
        found = text.find(word.text, position)
        if found < 0:
            return plain
        places.append(found)
        position = found + len(word.text)
    return text[places[first] if first else 0 : places[last] if last < len(words) else None].strip()


def text_after(text: str, count: int) -> str:
    """Return the text after its first `count` letters and digits, without the punctuation that follows them."""
    for index, character in enumerate(text):
        if character.isalnum():
            if not count:
                return text[index:]
            count -= 1
    return ""
