"""Subtitle cues: a transcript cut into pieces that fit a screen and can be read, Latin and CJK alike (pure).

The rules: at most two lines of the columns the preset allows; breaks after a sentence first, then after a clause, then
at a pause, then where the phrase suffers least; never inside a Latin word, a number, or between a number and its
measure word; no closing punctuation at the start of a line, no opening one at its end. A cue stays long enough to be
read where the next one leaves it the time, and no longer than the preset allows. No text is lost and cues never
overlap. A single word that is wider than a line stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import merge
from typing import Final

from worker.transcript.model import Segment, Transcript
from worker.transcript.subtitles.cjk_spacing import is_cjk
from worker.transcript.subtitles.cue_layout import CueLayout, CueUnits, runs
from worker.transcript.subtitles.style import PLAIN, CueRules, Style
from worker.transcript.subtitles.text_units import Part, Unit, columns, units

MAX_DELAY_MS: Final = 2000
"""A cue comes at most this much later than its first word, so that the one before it can be read."""
MIN_STEP_MS: Final = 250
"""Least time between two starts, for text that came without usable times."""
_BARE: Final = "，。；､｡"


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: one or two lines, shown from `start_ms` to `end_ms` (milliseconds of the file)."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    parts: tuple[tuple[Part, ...], ...] = ()
    """The same lines with the times of their pieces."""
    channel: str | None = None
    """Name of the channel it was heard on."""


def clock(ms: int, point: str) -> str:
    """`HH:MM:SS` and milliseconds after `point`; hours grow beyond two digits."""
    seconds, milli = divmod(max(0, ms), 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{milli:03}"


def cues(transcript: Transcript, style: Style = PLAIN, *, named: bool = False) -> Iterator[Cue]:
    """All cues of a transcript in order of time, starts strictly rising, none reaching into the next.

    `named`: the first line has room for the name of the channel and `: `.
    """
    rules = style.rules
    channels: dict[str | None, list[Segment]] = {}
    for segment in sorted(transcript.segments, key=lambda segment: segment.start):
        channels.setdefault(segment.channel, []).append(segment)
    each = (_of_channel(name, segments, rules, named=named) for name, segments in channels.items())
    return _timed(merge(*each, key=lambda item: item[0].start_ms), rules)


def label(channel: str | None) -> str:
    """What is written before a line to say who speaks; nothing for the only channel."""
    return f"{channel}: " if channel else ""


def _of_channel(
    channel: str | None, segments: list[Segment], rules: CueRules, *, named: bool
) -> Iterator[tuple[Cue, float]]:
    """The channel's cues as they were said, and how long it takes to read each."""
    reserved = min(columns(label(channel)), rules.cjk_columns // 2) if named else 0
    shown_ms = 0
    for run in runs((units(segment, rules) for segment in segments), rules):
        for cut in CueLayout(_joined(run), rules, reserved=reserved).cuts():
            parts = tuple(line for each in cut.lines if (line := _line(each, bare=rules.bare)))
            if parts:
                shown_ms = max(shown_ms, cut.start_ms)  # in the order of the text, whatever its times say
                yield _raw(channel, cut, parts, shown_ms), cut.read_ms


def _raw(channel: str | None, cut: CueUnits, parts: tuple[tuple[Part, ...], ...], start_ms: int) -> Cue:
    return Cue(start_ms, max(start_ms, cut.end_ms), tuple(map(_text, parts)), parts, channel)


def _timed(said: Iterator[tuple[Cue, float]], rules: CueRules) -> Iterator[Cue]:
    """Held until they can be read, parted by the least gap, none over the longest time."""
    shown: Cue | None = None
    for cue, read_ms in said:
        start = cue.start_ms
        if shown is not None:
            wanted = min(shown.start_ms + rules.min_ms + rules.gap_ms, start + MAX_DELAY_MS)
            start = max(start, wanted, shown.start_ms + MIN_STEP_MS)
            yield _until(shown, start, rules)
        end = max(cue.end_ms, start + max(rules.min_ms, round(read_ms)))
        shown = replace(cue, start_ms=start, end_ms=min(end, start + rules.max_ms))
    if shown is not None:
        yield shown


def _until(cue: Cue, next_ms: int, rules: CueRules) -> Cue:
    """The cue as it ends when the next one begins at `next_ms`."""
    end = next_ms - rules.gap_ms
    if next_ms - cue.end_ms < rules.chain_ms:
        return replace(cue, end_ms=min(end, cue.start_ms + rules.max_ms))
    return cue


def _joined(run: list[Unit]) -> list[Unit]:
    """The units of several segments as one text: a space between two of them, but not after a full-width sign."""
    for index in range(1, len(run)):
        before, unit = run[index - 1], run[index]
        if before.ends_segment and not unit.spaced and not _is_sign(before.text[-1]):
            run[index] = replace(unit, parts=(replace(unit.parts[0], spaced=True), *unit.parts[1:]))
    return run


def _is_sign(char: str) -> bool:
    return is_cjk(char) and not char.isalnum()


def _line(line: tuple[Unit, ...], *, bare: bool) -> tuple[Part, ...]:
    parts = [part for unit in line for part in unit.parts]
    if bare:
        parts = _without_stops(parts)
    return tuple(parts)


def _without_stops(parts: list[Part]) -> list[Part]:
    kept: list[Part] = []
    stopped = False
    for part in parts:
        text = part.text.rstrip(_BARE)
        if text:
            kept.append(replace(part, text=text, spaced=part.spaced or stopped))
        stopped = len(text) < len(part.text)
    return kept


def _text(parts: tuple[Part, ...]) -> str:
    return "".join(f" {part.text}" if part.spaced and k else part.text for k, part in enumerate(parts))
