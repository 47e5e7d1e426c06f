"""Converts a transcript to subtitle cues that fit a screen and can be read in time, for Latin and CJK text. No I/O.

A cue has at most two lines, of the width that the preset allows. Breaks are preferred after a sentence, then after a
clause, then in a pause, then between words that do not belong closely together. There is no break inside a Latin word
or a number, or between a number and its measure word. No line starts with closing punctuation or ends with opening
punctuation. A cue is shown long enough to be read, if the next cue of its speaker does not start earlier, and at most
as long as the preset allows. No text is lost. Cues of one channel never overlap. Speech of two channels at once is
shown in two cues that overlap, or in one cue with hyphens. A single word that is wider than a line is not broken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from typing import Final

from worker.transcript.model import Segment, Transcript
from worker.transcript.subtitles.cjk_spacing import is_cjk
from worker.transcript.subtitles.cue_layout import MAX_LINES, CueLayout, CueUnits, runs
from worker.transcript.subtitles.netflix_punctuation import punctuated
from worker.transcript.subtitles.style import PLAIN, CueRules, Style
from worker.transcript.subtitles.text_units import Part, Unit, columns, read_ms, units

MAX_DELAY_MS: Final = 2000
"""Maximum delay of a cue after its first word, to give the previous cue time to be read."""
MIN_STEP_MS: Final = 250
"""Minimum time between the starts of two cues, for text without usable times."""
# Punctuation that `CueRules.without_stops` removes. At the end of a line, also commas of lists, and marks in brackets.
_STOPS: Final = "，。；､｡"
_AT_END: Final = re.compile(f"[、{_STOPS}]+(?=[」』）》】]*$)")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: one or two lines, shown from `start_ms` to `end_ms` (milliseconds of the file)."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    parts: tuple[tuple[Part, ...], ...] = ()
    """The parts of each line, with their times."""
    channel: str | None = None
    """Name of the channel from which the words of the cue come, or None if channels were mixed or two speak at once."""


def clock(ms: int, point: str) -> str:
    """Format a time as `HH:MM:SS`, then the decimal separator `point`, then the milliseconds.

    The hours may have more than two digits."""
    seconds, milli = divmod(max(0, ms), 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{milli:03}"


def cues(transcript: Transcript, style: Style = PLAIN, *, named: bool = False) -> Iterator[Cue]:
    """Yield all cues of a transcript in order of their starts. Only cues of different channels overlap.

    A segment of punctuation alone has no cue.

    `named`: whether to reserve space in the first line of a cue for the name of the channel and `: `.
    """
    rules = style.rules
    channels: dict[str | None, list[Segment]] = {}
    spoken = (segment for segment in transcript.segments if not _is_punctuation(segment.text))
    for segment in sorted(spoken, key=lambda segment: segment.start):
        channels.setdefault(segment.channel, []).append(segment)
    if rules.without_stops:
        channels = {name: [punctuated(segment) for segment in parts] for name, parts in channels.items()}
    each = (_timed(_of_channel(name, parts, rules, named=named), rules) for name, parts in channels.items())
    merged: Iterator[Cue] = merge(*each, key=lambda cue: cue.start_ms)
    if len(channels) > 1:
        merged = _apart(_hyphenated(merged, rules) if rules.hyphens else merged, rules)
    return _within(merged, round(transcript.source.duration * 1000))


def _within(shown: Iterable[Cue], duration_ms: int) -> Iterator[Cue]:
    """Yield the cues. They end with the file, except those that start after its end because its duration is wrong."""
    for cue in shown:
        yield replace(cue, end_ms=duration_ms) if cue.start_ms < duration_ms < cue.end_ms else cue


def _apart(merged: Iterator[Cue], rules: CueRules) -> Iterator[Cue]:
    """Yield the cues with the minimum gap between the cues of two speakers who do not speak at once."""
    before: Cue | None = None
    for cue in merged:
        if before is not None:
            short = 0 <= cue.start_ms - before.end_ms < rules.gap_ms
            latest = cue.start_ms - rules.gap_ms
            yield replace(before, end_ms=latest) if short and latest > before.start_ms else before
        before = cue
    if before is not None:
        yield before


def _hyphenated(merged: Iterator[Cue], rules: CueRules) -> Iterator[Cue]:
    """Yield the cues. Two cues of one line each, of speakers at once, become one cue with a hyphen before each line."""
    before: Cue | None = None
    for cue in merged:
        both = None if before is None else _both(before, cue, rules)
        if both is not None:
            yield both
            before = None
            continue
        if before is not None:
            yield before
        before = cue
    if before is not None:
        yield before


def _both(first: Cue, second: Cue, rules: CueRules) -> Cue | None:
    """Return one cue of two speakers, or None if they do not speak at once, or their lines or times do not fit."""
    if (
        first.channel == second.channel
        or second.start_ms >= first.end_ms
        or len(first.parts + second.parts) > MAX_LINES
    ):
        return None
    parts = tuple((replace(line[0], text="-" + line[0].text), *line[1:]) for line in first.parts + second.parts)
    lines = tuple(map(_text, parts))
    limit = rules.cjk_columns if any(map(is_cjk, "".join(lines))) else rules.columns
    end = max(first.end_ms, second.end_ms, first.start_ms + round(sum(read_ms(line, rules) for line in lines)))
    if end - first.start_ms > rules.max_ms or max(map(columns, lines)) > limit:
        return None
    return Cue(first.start_ms, end, lines, parts)


def label(channel: str | None) -> str:
    """Return the prefix of a line that names its channel; "" without a channel name."""
    return f"{channel}: " if channel else ""


def _of_channel(
    channel: str | None, segments: list[Segment], rules: CueRules, *, named: bool
) -> Iterator[tuple[Cue, float]]:
    """Yield each cue of a channel and its reading time in milliseconds. A cue starts and ends with its words."""
    reserved = min(columns(label(channel)), rules.cjk_columns // 2) if named else 0
    shown_ms = 0
    for run in runs((units(segment, rules) for segment in segments), rules):
        for cue in CueLayout(_joined(run), rules, reserved=reserved).cues():
            parts = tuple(line for each in cue.lines if (line := _line(each, without_stops=rules.without_stops)))
            if parts and not (rules.without_stops and _is_punctuation("".join(map(_text, parts)))):
                shown_ms = max(shown_ms, cue.start_ms)  # keeps the order of the cues, even if their times are wrong
                yield _spoken_cue(channel, cue, parts, shown_ms), cue.read_ms


def _spoken_cue(channel: str | None, cue: CueUnits, parts: tuple[tuple[Part, ...], ...], start_ms: int) -> Cue:
    return Cue(start_ms, max(start_ms, cue.end_ms), tuple(map(_text, parts)), parts, channel)


def _timed(said: Iterator[tuple[Cue, float]], rules: CueRules) -> Iterator[Cue]:
    """Yield the cues with their final times.

    Each cue is extended until it can be read, up to the maximum duration, or until the minimum gap before the next cue.
    `said`: the cues of one channel in order of their starts, each with its reading time in milliseconds."""
    shown: Cue | None = None
    for cue, reading_ms in said:
        start = cue.start_ms
        if shown is not None:
            # Delay this cue so that the previous one can be shown for the minimum duration, but not for too long.
            wanted = min(shown.start_ms + rules.min_ms + rules.gap_ms, start + MAX_DELAY_MS)
            start = max(start, wanted, shown.start_ms + MIN_STEP_MS)
            yield _until(shown, start, rules)
        end = max(cue.end_ms, start + max(rules.min_ms, round(reading_ms)))
        shown = replace(cue, start_ms=start, end_ms=min(end, start + rules.max_ms))
    if shown is not None:
        yield shown


def _until(cue: Cue, next_ms: int, rules: CueRules) -> Cue:
    """Return the cue with its final end, which depends on the start of the next cue."""
    end = next_ms - rules.gap_ms
    if next_ms - cue.end_ms < rules.chain_ms:
        return replace(cue, end_ms=min(end, cue.start_ms + rules.max_ms))
    return cue


def _joined(run: list[Unit]) -> list[Unit]:
    """Join the units of several segments to one text, by a space between two segments except after full-width
    punctuation. Changes and returns the list."""
    for index in range(1, len(run)):
        before, unit = run[index - 1], run[index]
        if before.ends_segment and not unit.spaced and not _is_sign(before.text[-1]):
            run[index] = replace(unit, parts=(replace(unit.parts[0], spaced=True), *unit.parts[1:]))
    return run


def _is_sign(char: str) -> bool:
    return is_cjk(char) and not char.isalnum()


def _is_punctuation(text: str) -> bool:
    return all(unicodedata.category(char) in ("Cc", "Cf") or unicodedata.category(char)[0] in "PZ" for char in text)


def _line(line: tuple[Unit, ...], *, without_stops: bool) -> tuple[Part, ...]:
    parts = [part for unit in line for part in unit.parts]
    if without_stops:
        parts = _without_stops(parts)
    return tuple(parts)


def _without_stops(parts: list[Part]) -> list[Part]:
    """Remove full-width commas and stops at the end of parts. A space replaces them within a line."""
    kept: list[Part] = []
    stopped = False
    for part in parts:
        text = part.text.rstrip(_STOPS).rstrip()
        if text:
            kept.append(replace(part, text=text, spaced=part.spaced or stopped))
        stopped = len(text) < len(part.text)
    while kept and not (text := _AT_END.sub("", kept[-1].text).rstrip()):
        kept.pop()
    return [*kept[:-1], replace(kept[-1], text=text)] if kept else []


def _text(parts: tuple[Part, ...]) -> str:
    return "".join(f" {part.text}" if part.spaced and k else part.text for k, part in enumerate(parts))
