"""Arranges the cues of several speakers: overlapping, or one at a time with a hyphen for each speaker. No I/O.

Netflix accepts no cues that overlap. Where two people speak at once, the text of each is laid out in one line, so that
both lines fit in one cue, with hyphens. If two cues cannot be combined, they follow each other: the second cue is
delayed until the first one can be read, but by at most `MAX_DELAY_MS`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from worker.transcript.model import Segment
from worker.transcript.subtitles.cjk_spacing import is_cjk
from worker.transcript.subtitles.cue import MAX_DELAY_MS, MIN_STEP_MS, Cue, text_of
from worker.transcript.subtitles.cue_layout import MAX_LINES
from worker.transcript.subtitles.style import CueRules
from worker.transcript.subtitles.text_units import Part, columns, read_ms


def overlapping(channels: Mapping[str | None, Sequence[Segment]]) -> frozenset[int]:
    """Return the identities (`id`) of the segments during which a segment of another channel is spoken.

    `channels`: the segments of each channel in order of their starts."""
    starts = {name: [segment.start for segment in parts] for name, parts in channels.items()}
    ends = {name: list(accumulate((segment.end for segment in parts), max)) for name, parts in channels.items()}
    found = set()
    for name, parts in channels.items():
        for segment in parts:
            for other in channels.keys() - {name}:
                before = bisect_left(starts[other], segment.end)
                if before and ends[other][before - 1] > segment.start:
                    found.add(id(segment))
    return frozenset(found)


def apart(merged: Iterator[Cue], rules: CueRules) -> Iterator[Cue]:
    """Yield the cues, changed so that there is a minimum gap between the cues of two speakers who do not speak at
    once."""
    before: Cue | None = None
    for cue in merged:
        if before is not None:
            short = 0 <= cue.start_ms - before.end_ms < rules.gap_ms
            latest = cue.start_ms - rules.gap_ms
            yield replace(before, end_ms=latest) if short and latest > before.start_ms else before
        before = cue
    if before is not None:
        yield before


@dataclass(frozen=True, slots=True)
class _Shown:
    """A cue and the channel of each of its lines."""

    cue: Cue
    speakers: tuple[str | None, ...]

    @property
    def lines(self) -> tuple[tuple[Part, ...], ...]:
        """The lines without hyphens."""
        if len(set(self.speakers)) < MAX_LINES:
            return self.cue.parts
        return tuple((replace(line[0], text=line[0].text.removeprefix("-")), *line[1:]) for line in self.cue.parts)


def one_at_a_time(merged: Iterator[Cue], rules: CueRules) -> Iterator[Cue]:
    """Yield the cues without overlaps. Two people who speak at once share a cue; all other cues follow each other.

    `merged`: the cues of all channels in order of their starts; cues of the same channel do not overlap."""
    shown: _Shown | None = None
    for cue in merged:
        following = _Shown(cue, (cue.channel,) * len(cue.parts))
        if shown is not None:
            together = _together(shown, cue, rules) if cue.start_ms < shown.cue.end_ms else None
            if together is not None:
                shown = together
                continue
            start = _start_after(shown.cue, cue, rules)
            yield _until(shown.cue, start, rules)
            following = replace(following, cue=_from(cue, start, rules))
        shown = following
    if shown is not None:
        yield shown.cue


def _together(shown: _Shown, cue: Cue, rules: CueRules) -> _Shown | None:
    """Return one cue with the lines of both speakers. Returns None if the lines are too long, or if their times are too
    different."""
    if len(cue.parts) > 1 or len(set(shown.speakers)) < len(shown.speakers):
        return None
    lines, speakers = list(shown.lines), shown.speakers
    if cue.channel not in speakers:
        lines.append(cue.parts[0])
        speakers = (*speakers, cue.channel)
    else:
        if len(speakers) < MAX_LINES:
            return None
        at = speakers.index(cue.channel)
        lines[at] = (*lines[at], replace(cue.parts[0][0], spaced=True), *cue.parts[0][1:])
    if len(lines) > MAX_LINES:
        return None
    parts = tuple((replace(line[0], text="-" + line[0].text), *line[1:]) for line in lines)
    texts = tuple(map(text_of, parts))
    limit = rules.cjk_columns if any(map(is_cjk, "".join(texts))) else rules.columns
    start = shown.cue.start_ms
    end = max(shown.cue.end_ms, cue.end_ms, start + _reading_ms(texts, rules))
    if end - start > rules.max_ms or max(map(columns, texts)) > limit:
        return None
    return _Shown(Cue(start, end, texts, parts), speakers)


def _start_after(shown: Cue, cue: Cue, rules: CueRules) -> int:
    """Return the start, in milliseconds, of the cue `cue` that follows `shown`. If possible, it starts when `shown` has
    been spoken and can have been read."""
    spoken_ms = max(part.end_ms for line in shown.parts for part in line)
    done_ms = max(shown.start_ms + _reading_ms(shown.lines, rules), min(spoken_ms, shown.start_ms + rules.max_ms))
    latest = max(cue.start_ms, min(done_ms + rules.gap_ms, cue.start_ms + MAX_DELAY_MS))
    return max(latest, shown.start_ms + MIN_STEP_MS)


def _until(cue: Cue, next_ms: int, rules: CueRules) -> Cue:
    """Return the cue with its final end, which is before the next cue. A gap so short that the picture would flicker is
    avoided."""
    end = cue.end_ms if next_ms - cue.end_ms >= rules.chain_ms else next_ms - rules.gap_ms
    return replace(cue, end_ms=min(end, cue.start_ms + rules.max_ms))


def _from(cue: Cue, start: int, rules: CueRules) -> Cue:
    end = cue.end_ms if start == cue.start_ms else max(cue.end_ms, start + _reading_ms(cue.lines, rules))
    return replace(cue, start_ms=start, end_ms=min(end, start + rules.max_ms))


def _reading_ms(lines: Sequence[str], rules: CueRules) -> int:
    return max(rules.min_ms, round(sum(read_ms(line, rules) for line in lines)))
