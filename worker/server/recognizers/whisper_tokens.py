"""The tokens of a Whisper model for one language: prompts, text and words.

Written here and not taken from faster-whisper, because the import of that package loads FFmpeg and the client of the
model hub, which the recognizer does not need.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_INVALID: Final = "\ufffd"
"""What the decoder writes for tokens that end in the middle of a character."""
_UNSPACED: Final = frozenset(("zh", "ja", "th", "lo", "my", "yue"))
"""Languages without spaces between words. Each character, or indivisible group of characters, counts as a word."""


@dataclass(frozen=True, slots=True)
class TokenWord:
    """A word with its leading space, and its tokens."""

    text: str
    tokens: tuple[int, ...]


class WhisperTokens:
    """`vocabulary`: a `tokenizers.Tokenizer`. `language`: a language code, or None for a model that has only
    English."""

    def __init__(self, vocabulary: Any, language: str | None) -> None:
        self._vocabulary = vocabulary
        self._spaced = language not in _UNSPACED
        self.eot = self._id("endoftext")
        """End of the text. The ids of all special tokens are this or higher."""
        self.no_timestamps = self._id("notimestamps")
        self.sot_prev = self._id("startofprev")
        languages = [] if language is None else [self._id(language), self._id("transcribe")]
        self.sot_sequence = [self._id("startoftranscript"), *languages]

    def _id(self, name: str) -> int:
        found = self._vocabulary.token_to_id(f"<|{name}|>")
        if found is None:
            raise ValueError(f"the vocabulary has no token {name!r}")
        return int(found)

    def encode(self, text: str) -> list[int]:
        return list(self._vocabulary.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._vocabulary.decode([token for token in tokens if token < self.eot]))

    def words(self, tokens: Sequence[int]) -> list[TokenWord]:
        """Split the tokens of a text into words. Punctuation marks are words of their own."""
        parts = self._characters(tokens)
        if not self._spaced:
            return parts
        words: list[TokenWord] = []
        for part in parts:
            if not words or part.text.startswith(" ") or part.text.strip() in string.punctuation:
                words.append(part)
            else:
                words[-1] = TokenWord(words[-1].text + part.text, words[-1].tokens + part.tokens)
        return words

    def _characters(self, tokens: Sequence[int]) -> list[TokenWord]:
        """Split tokens into the smallest groups that have whole characters."""
        text = self.decode(tokens)
        parts: list[TokenWord] = []
        group: list[int] = []
        at = 0
        for token in tokens:
            group.append(token)
            decoded = self.decode(group)
            invalid = decoded.find(_INVALID)
            # The text itself may contain the sign.
            if invalid < 0 or text[at + invalid : at + invalid + 1] == _INVALID:
                parts.append(TokenWord(decoded, tuple(group)))
                group = []
                at += len(decoded)
        return parts
