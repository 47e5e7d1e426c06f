"""Joins consecutive short segments of one session for one call of the model, and divides the result again. No I/O.

A model takes windows of 15 to 30 s, however short the segment is. Measured on 27 recordings with 143 segments of 3.8 s
on average: joined, they take about 0.6 times the CPU time, and the larger context also makes fewer errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from worker.server.recognizers import SAMPLE_RATE, RecognizedWord, Samples

# Punctuation that belongs to the word after it (LEADING) or before it (TRAILING).
LEADING: Final = "\"'“¿([{-「『（《"
TRAILING: Final = "\"'.。,，!！?？:：”)]}、」』）》;；"


@dataclass(frozen=True, slots=True)
class JoinedSegments:
    """The samples of consecutive segments, and the start and end of each segment in them, in seconds."""

    samples: Samples
    bounds: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, segments: Sequence[Samples]) -> Self:
        ends = np.cumsum([len(segment) for segment in segments]) / SAMPLE_RATE
        starts = [0.0, *ends[:-1].tolist()]
        samples = segments[0] if len(segments) == 1 else np.concatenate(segments)
        return cls(samples, tuple(zip(starts, ends.tolist(), strict=True)))

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def divided(self, words: Sequence[RecognizedWord]) -> list[list[RecognizedWord]]:
        """Return the words of each segment, with times from the start of the segment. `words`: words with their spaces,
        and punctuation marks as words of their own, as `whisper` aligns them.

        A word belongs to the segment with its middle, because segments begin and end with silence."""
        divided: list[list[RecognizedWord]] = [[] for _ in self.bounds]
        index = 0
        for number, word in enumerate(words):
            # A mark belongs to the segment of its word, whatever its own time is.
            if not _is_trailing_mark(word.text):
                timed = next((w for w in words[number:] if not _is_leading_mark(w.text)), word)
                middle = (timed.start + timed.end) / 2
                while index + 1 < len(self.bounds) and middle >= self.bounds[index][1]:
                    index += 1
            start, end = self.bounds[index]
            at = min(max(word.start, start), end) - start
            divided[index].append(replace(word, start=at, end=max(at, min(word.end, end) - start)))
        return divided


def text_of(words: Sequence[RecognizedWord]) -> str:
    return "".join(word.text for word in words).strip()


def merged(words: Sequence[RecognizedWord]) -> list[RecognizedWord]:
    """Join punctuation marks to the word before or after them, and remove spaces around words."""
    out: list[RecognizedWord] = []
    leading = ""
    for word in words:
        text = word.text.strip()
        if not text:
            continue
        if out and _is_trailing_mark(word.text):
            last = out[-1]
            out[-1] = RecognizedWord(last.text + leading + text, last.start, last.end, last.logprob)
            leading = ""
        elif _is_leading_mark(word.text) and word is not words[-1]:
            leading += text
        else:
            out.append(RecognizedWord(leading + text, word.start, word.end, word.logprob))
            leading = ""
    return out


def _is_trailing_mark(text: str) -> bool:
    return not text.startswith(" ") and all(char in TRAILING for char in text.strip())


def _is_leading_mark(text: str) -> bool:
    return all(char in LEADING for char in text.strip())
