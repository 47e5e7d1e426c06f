"""Converts Chinese text to another script with OpenCC: Hong Kong or Taiwan traditional characters, or simplified ones.

Only characters change, not the choice of words: `軟件` stays `軟件` in Taiwan's script. Latin letters, digits and
punctuation do not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

import opencc

from worker.transcript.model import Segment, Transcript, Word
from worker.transcript.subtitles.style import Script

_FROM_SIMPLIFIED: Final[dict[Script, tuple[str, ...]]] = {"hk": ("s2hk",), "tw": ("s2tw",), "cn": ()}
# Tables for simplified text damage traditional text: 范小姐 becomes 範小姐. So traditional text is first converted from
# the characters of the other region to the common traditional characters.
_FROM_TRADITIONAL: Final[dict[Script, tuple[str, ...]]] = {
    "hk": ("tw2t", "t2hk"),
    "tw": ("hk2t", "t2tw"),
    "cn": ("hk2t", "t2s"),
}


def in_script(transcript: Transcript, script: Script | None) -> Transcript:
    """Return the transcript with its text and words in `script`. If `script` is None, it is returned unchanged."""
    if script is None:
        return transcript
    convert = _Converter(script, simplified=_is_simplified(transcript.text))
    segments = tuple(convert.segment(segment) for segment in transcript.segments)
    return transcript.model_copy(update={"text": convert.text(transcript.text), "segments": segments})


class _Converter:
    def __init__(self, script: Script, *, simplified: bool) -> None:
        self._tables = (_FROM_SIMPLIFIED if simplified else _FROM_TRADITIONAL)[script]

    def text(self, text: str) -> str:
        for name in self._tables:
            text = _table(name).convert(text)
        return text

    def segment(self, segment: Segment) -> Segment:
        text = self.text(segment.text)
        words = tuple(self._words(segment, text))
        return segment.model_copy(update={"text": text, "words": words})

    def _words(self, segment: Segment, converted: str) -> Iterator[Word]:
        """Yield the words of a segment in the script.

        They are taken from the converted text of the segment, because the conversion of a character depends on its
        neighbours. A word that is not found in the text is converted by itself."""
        # The positions of the words are only valid in the converted text if both texts have the same length.
        same_length = len(converted) == len(segment.text)
        at = 0
        for word in segment.words:
            begin = segment.text.find(word.text, at) if same_length else -1
            if begin < 0:
                text = self.text(word.text)
            else:
                at = begin + len(word.text)
                text = converted[begin:at]
            yield Word(text=text, start=word.start, end=word.end, confidence=word.confidence)


def _is_simplified(text: str) -> bool:
    """Whether a text is in the simplified script.

    It is if more of its characters exist only in the simplified script than only in the traditional script."""
    return _changed(text, "s2t") > _changed(text, "t2s")


def _changed(text: str, table: str) -> int:
    """Return the number of characters that a conversion with the OpenCC table changes."""
    return sum(before != after for before, after in zip(text, _table(table).convert(text), strict=False))


@cache
def _table(name: str) -> opencc.OpenCC:
    return opencc.OpenCC(name)
