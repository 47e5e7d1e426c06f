"""Groups the segments of a transcript into paragraphs by pause and speaker. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from worker.transcript.model import Gap
from worker.transcript.revisions import SegmentState
from worker.transcript.subtitles.cjk_spacing import is_cjk

PAUSE_S: Final = 2.0
"""A pause of this length, in seconds, begins a new paragraph."""
_LONG: Final = 500
"""A paragraph of this length ends with the next sentence. Lengths are columns: a CJK character counts three times,
because it stands for about half a word."""
_MAX: Final = 1000
"""A paragraph ends after a segment that reaches this length."""
_CJK_WEIGHT: Final = 3
_SENTENCE_ENDS: Final = tuple(".!?…。！？⋯")
_CLOSING: Final = "\"'”’」』）)】》"


@dataclass(slots=True)
class Paragraph:
    """Consecutive segments of one speaker."""

    segments: list[tuple[int, SegmentState]] = field(default_factory=list)
    """The segments with their index in the transcript."""
    length: int = 0
    """Length of the text in columns."""

    @property
    def speaker(self) -> str | None:
        return self.segments[0][1].segment.channel

    @property
    def language(self) -> str | None:
        return self.segments[0][1].segment.language

    @property
    def start(self) -> float:
        return self.segments[0][1].segment.start

    @property
    def end(self) -> float:
        return max(state.segment.end for _, state in self.segments)

    def add(self, index: int, state: SegmentState) -> None:
        self.segments.append((index, state))
        self.length += text_length(state.segment.text)

    def continues_with(self, state: SegmentState) -> bool:
        """Whether the next segment belongs to this paragraph."""
        before, after = self.segments[-1][1].segment, state.segment
        if (before.channel, before.language) != (after.channel, after.language):
            return False
        if after.start - before.end >= PAUSE_S or self.length >= _MAX:
            return False
        return self.length < _LONG or not before.text.rstrip().rstrip(_CLOSING).endswith(_SENTENCE_ENDS)


def text_length(text: str) -> int:
    """Return the length of a text in columns, as `_LONG` counts them."""
    return sum(_CJK_WEIGHT if is_cjk(char) else 1 for char in text)


def paragraphs(states: Sequence[SegmentState], gaps: Sequence[Gap]) -> Iterator[Paragraph | Gap]:
    """Yield the paragraphs and the missing parts of the audio in order of time. A missing part ends a paragraph.
    Segments whose original text and current text are empty are left out; removed segments stay, so that a page can
    restore them."""
    shown = [(i, s) for i, s in enumerate(states) if s.segment.text.strip() or s.original.text.strip()]
    items: list[tuple[float, int, SegmentState | Gap]] = [(s.segment.start, i, s) for i, s in shown]
    items += [(gap.start, -1, gap) for gap in gaps]
    current: Paragraph | None = None
    for _, index, item in sorted(items, key=lambda each: each[0]):
        if isinstance(item, Gap):
            if current is not None:
                yield current
            current = None
            yield item
            continue
        if current is not None and not current.continues_with(item):
            yield current
            current = None
        current = current or Paragraph()
        current.add(index, item)
    if current is not None:
        yield current
