"""Text that comes again after a resume where its first commit had no word times to tell by (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from worker.transcript.model import Word


class Reheard:
    """Remembers the text committed since the last place that is sure, and takes it off what a new session commits."""

    def __init__(self) -> None:
        self._known = ""  # letters and digits only
        self._expected = ""

    def remember(self, text: str) -> None:
        self._known += _letters(text)

    def forget(self) -> None:
        """Everything so far is sure: it will not come again."""
        self._known = ""

    def begin(self, *, again: bool) -> None:
        """A session starts; with `again` at the last sure place, so that everything remembered comes again."""
        self._expected = self._known if again else ""

    def without(self, text: str) -> str:
        """`text` without what was committed before; "" when nothing new is in it."""
        letters, expected = _letters(text), self._expected
        if not expected:
            return text
        if expected.startswith(letters):
            self._expected = expected[len(letters) :]
            return ""
        self._expected = ""
        if not letters.startswith(expected):
            return text  # heard otherwise this time: better twice than never
        return _after(text, len(expected))

    def unknown(self, words: Sequence[Word]) -> list[Word]:
        """The same for words: those that follow what was committed before, from the first one that is new."""
        rest = _letters(self.without(" ".join(word.text for word in words)))
        fresh: list[Word] = []
        for word in reversed(words):
            if not rest:
                break
            fresh.insert(0, word)
            rest = rest[: -len(_letters(word.text)) or None]
        return fresh


def text_from(text: str, words: Sequence[Word], fresh: Sequence[Word]) -> str:
    """The part of a commit's text that the `fresh` ones of its `words` make up."""
    dropped = len(words) - len(fresh)
    if list(fresh) != list(words[dropped:]):
        return " ".join(w.text for w in fresh)
    position = 0
    for word in words[:dropped]:
        found = text.find(word.text, position)
        if found < 0:
            return " ".join(w.text for w in fresh)
        position = found + len(word.text)
    first = text.find(fresh[0].text, position)
    return text[first:].strip() if first >= 0 else " ".join(w.text for w in fresh)


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _after(text: str, letters: int) -> str:
    """What follows the first `letters` letters and digits of a text, without the signs in between."""
    for index, character in enumerate(text):
        if character.isalnum():
            if not letters:
                return text[index:]
            letters -= 1
    return ""
