"""Text that comes again after a resume where its first commit had no word times to tell by (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from worker.realtime.text_match import letters
from worker.transcript.model import Word


class OverlapFilter:
    """Remembers the text committed since the last place that is sure, and takes it off what a new session commits."""

    def __init__(self) -> None:
        self._known = ""  # letters and digits only
        self._expected = ""

    def remember(self, text: str) -> None:
        self._known += letters(text)

    def forget(self) -> None:
        """Everything so far is sure: it will not come again."""
        self._known = ""

    def begin(self, *, again: bool) -> None:
        """A session starts; with `again` at the last sure place, so that everything remembered comes again."""
        self._expected = self._known if again else ""

    def without(self, text: str) -> str:
        """`text` without what was committed before; "" when nothing new is in it."""
        heard, expected = letters(text), self._expected
        if not expected:
            return text
        if expected.startswith(heard):
            self._expected = expected[len(heard) :]
            return ""
        self._expected = ""
        if not heard.startswith(expected):
            return text  # heard otherwise this time: better twice than never
        return text_after(text, len(expected))

    def unknown(self, words: Sequence[Word]) -> list[Word]:
        """The same for words: those that follow what was committed before, from the first one that is new."""
        if not self._expected:
            return list(words)
        rest = letters(self.without(" ".join(word.text for word in words)))
        fresh: list[Word] = []
        for word in reversed(words):
            if not rest:
                break
            fresh.insert(0, word)
            rest = rest[: -len(letters(word.text)) or None]
        return fresh


def text_of_words(text: str, words: Sequence[Word], kept: Sequence[Word]) -> str:
    """The part of a commit's text that the `kept` ones of its `words` make up: the text between them where they stand
    together in it, with the signs that follow them."""
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
    """What follows the first `count` letters and digits of a text, without the signs in between."""
    for index, character in enumerate(text):
        if character.isalnum():
            if not count:
                return text[index:]
            count -= 1
    return ""
