"""Removes text that a resumed session commits again, for commits without word times. No I/O.

A resumed session starts before the end of the committed audio, so it repeats some words. Word times show which words
are repeated. Without word times, only the text can show which words are repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.realtime.text_match import letters
from worker.transcript.model import Word


class OverlapFilter:
    """Removes text from the commits of a new session that earlier sessions already committed.

    The filter stores the text of all commits after the last commit with a known position in the file."""

    def __init__(self) -> None:
        self._known = ""  # stored text, letters and digits only
        self._expected = ""  # the part of the stored text that the current session has yet to repeat

    def remember(self, text: str) -> None:
        """Add the text of a commit whose position in the file is not known."""
        self._known += letters(text)

    def forget(self) -> None:
        """Discard the stored text. Call this after a commit with a known position: its audio will not be sent again."""
        self._known = ""

    def begin(self, *, again: bool) -> None:
        """Prepare for the commits of a new session.

        `again`: the session starts at the last known position, so the service will commit all stored text again."""
        self._expected = self._known if again else ""

    def new_text(self, text: str) -> str:
        """Return `text` without the part that was committed before. Returns "" if no part of the text is new."""
        heard, expected = letters(text), self._expected
        if not expected:
            return text
        if expected.startswith(heard):
            self._expected = expected[len(heard) :]
            return ""
        self._expected = ""
        if not heard.startswith(expected):
            return text  # recognized differently this time: a duplicate is better than a loss
        return text_after(text, len(expected))

    def new_words(self, words: Sequence[Word]) -> list[Word]:
        """Return the words that were not committed before: the first new word and all words after it."""
        if not self._expected:
            return list(words)
        rest = letters(self.new_text(" ".join(word.text for word in words)))
        fresh: list[Word] = []
        # Backwards, because the new text is at the end of the words.
        for word in reversed(words):
            if not rest:
                break
            fresh.insert(0, word)
            rest = rest[: -len(letters(word.text)) or None]
        return fresh


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
