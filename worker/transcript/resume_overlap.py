"""Removes text that a resumed session commits again, for commits without word times (pure).

With word times, the times show which words are repeated; without them, only the text does.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.realtime.text_match import letters
from worker.transcript.model import Word


class OverlapFilter:
    """Remembers the text committed since the last known position, and removes it from the commits of a new session."""

    def __init__(self) -> None:
        self._known = ""  # letters and digits only
        self._expected = ""

    def remember(self, text: str) -> None:
        """Add the text of a commit whose position in the file is not known."""
        self._known += letters(text)

    def forget(self) -> None:
        """Forget all text: a commit with a known position followed it, so it will not be sent again."""
        self._known = ""

    def begin(self, *, again: bool) -> None:
        """Call at the start of a session. `again`: it starts at the last known position, so all remembered text will
        be committed again."""
        self._expected = self._known if again else ""

    def new_text(self, text: str) -> str:
        """`text` without the part that was committed before; "" if no part is new."""
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
        """The same for words: the words from the first new one on."""
        if not self._expected:
            return list(words)
        rest = letters(self.new_text(" ".join(word.text for word in words)))
        fresh: list[Word] = []
        # From the end, because the new text is a suffix of the words.
        for word in reversed(words):
            if not rest:
                break
            fresh.insert(0, word)
            rest = rest[: -len(letters(word.text)) or None]
        return fresh


def text_of_words(text: str, words: Sequence[Word], kept: Sequence[Word]) -> str:
    """The part of a commit's text for the `kept` words among its `words`.

    For consecutive words it is the original text with its punctuation, otherwise the words joined by spaces."""
    first = next((i for i, word in enumerate(words) if word == kept[0]), 0) if kept else 0
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
    return text[places[first] : places[last] if last < len(words) else None].strip()


def text_after(text: str, count: int) -> str:
    """The text after its first `count` letters and digits, without the punctuation at that place."""
    for index, character in enumerate(text):
        if character.isalnum():
            if not count:
                return text[index:]
            count -= 1
    return ""
