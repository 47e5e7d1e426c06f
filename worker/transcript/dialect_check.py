"""Finds written Chinese, English and mixed scripts in a transcript for which Cantonese was requested. No I/O.

Segments are short, so consecutive segments of a channel are collected to a passage until the passage has enough
evidence for a language. A transcript is only flagged if passages in another language or script are a large part of the
transcript, because Cantonese speakers quote written Chinese and speak some English.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from worker.transcript.dialect import Dialect, Evidence, evidence_of
from worker.transcript.mixed_scripts import mixed_scripts
from worker.transcript.model import ReviewReason, Segment

MAX_PASSAGE: Final = 60
"""A passage of at least this size ends without evidence for a language. See `Evidence.size`."""
MIN_SHARE: Final = 0.2
"""Minimum share of the text in a language, from which the transcript is flagged."""
WRITTEN: Final = (
    "{share:.0%} of the text is written Chinese (的, 是, 他們), not spoken Cantonese (嘅, 係, 佢哋), longest from "
    "{start:.1f} to {end:.1f} s: this can be right where a text is read aloud or sung, as in news and songs; if not, "
    "use a model or service that writes spoken Cantonese (--model large-v3)"
)
ENGLISH: Final = (
    "{share:.0%} of the text is English, longest from {start:.1f} to {end:.1f} s, but Cantonese was requested: this "
    "can be right where English was spoken; if not, the recognizer translates or invents: use a model or service that "
    "supports Cantonese (--model large-v3)"
)
SCRIPTS: Final = (
    "the text mixes simplified ({simplified}) and traditional ({traditional}) Chinese characters: write one script "
    "with --script hk, tw or cn"
)


@dataclass(frozen=True, slots=True)
class _Passage:
    start: float
    end: float
    evidence: Evidence

    @property
    def dialect(self) -> Dialect:
        return self.evidence.dialect


def check_dialect(segments: Sequence[Segment]) -> tuple[ReviewReason, ...]:
    """Return the reasons to review a transcript in which Cantonese is expected. `segments` must be in the order of the
    file."""
    passages = list(_passages(segments))
    scripts = mixed_scripts("\n".join(segment.text for segment in segments))
    reasons = [_reason("dialect", WRITTEN, passages, "written"), _reason("language", ENGLISH, passages, "english")]
    if scripts is not None:
        text = SCRIPTS.format(simplified=scripts.simplified, traditional=scripts.traditional)
        reasons.append(ReviewReason(code="script", text=text))
    return tuple(reason for reason in reasons if reason is not None)


def _reason(
    code: Literal["dialect", "language"], text: str, passages: Sequence[_Passage], dialect: Dialect
) -> ReviewReason | None:
    total = sum(passage.evidence.size for passage in passages)
    size = sum(passage.evidence.size for passage in passages if passage.dialect == dialect)
    if not size or size < MIN_SHARE * total:
        return None
    start, end = max(_runs(passages, dialect), key=lambda run: run[1] - run[0])
    return ReviewReason(code=code, text=text.format(share=size / total, start=start, end=end))


def _runs(passages: Sequence[_Passage], dialect: Dialect) -> Iterator[tuple[float, float]]:
    """Yield start and end of each run of consecutive passages of one language."""
    run: tuple[float, float] | None = None
    for passage in passages:
        if passage.dialect == dialect:
            run = (passage.start if run is None else run[0], passage.end)
        elif run is not None:
            yield run
            run = None
    if run is not None:
        yield run


def _passages(segments: Sequence[Segment]) -> Iterator[_Passage]:
    """Yield the passages of the first channel, then those of each further channel."""
    channels: dict[str | None, list[Segment]] = {}
    for segment in segments:
        channels.setdefault(segment.channel, []).append(segment)
    for parts in channels.values():
        passage: _Passage | None = None
        for segment in parts:
            found = evidence_of(segment.text)
            start, before = (segment.start, Evidence()) if passage is None else (passage.start, passage.evidence)
            passage = _Passage(start, segment.end, before + found)
            if passage.dialect != "neutral" or passage.evidence.size >= MAX_PASSAGE:
                yield passage
                passage = None
        if passage is not None:
            yield passage


__all__ = ["check_dialect"]
