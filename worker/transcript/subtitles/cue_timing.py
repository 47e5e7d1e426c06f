"""Converts a transcript to subtitle cues that fit a screen and can be read in time, for Latin and CJK text. No I/O.

A cue has at most two lines, of the width that the preset allows. Breaks are preferred after a sentence, then after a
clause, then in a pause, then between words that do not belong closely together. There is no break inside a Latin word
or a number, or between a number and its measure word. No line starts with closing punctuation or ends with opening
punctuation. A cue is shown until it can be read, but not beyond the start of the next cue of its speaker, and not
longer than the preset allows. No text is lost. Cues of one channel never overlap. If two channels speak at once, the
preset decides: the speech is shown in two cues that overlap, in one cue with hyphens, or in cues one after another. A
single word that is wider than a line is not broken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from heapq import merge
from itertools import groupby
from typing import Final

from worker.transcript.model import Segment, Transcript
from worker.transcript.subtitles.cjk_spacing import is_cjk
from worker.transcript.subtitles.cue import MAX_DELAY_MS, MIN_STEP_MS, Cue, text_of
from worker.transcript.subtitles.cue_layout import CueLayout, CueUnits, runs
from worker.transcript.subtitles.netflix_punctuation import punctuated
from worker.transcript.subtitles.speakers import apart, one_at_a_time, overlapping
from worker.transcript.subtitles.style import PLAIN, CueRules, Style
from worker.transcript.subtitles.text_units import Part, Unit, columns, units

# Punctuation that `CueRules.without_stops` removes. At the end of a line, also commas of lists, and marks in brackets.
_STOPS: Final = "，。；､｡"
_AT_END: Final = re.compile(f"[、{_STOPS}]+(?=[」』）》】]*$)")


def clock(ms: int, point: str) -> str:
    """Format a time as `HH:MM:SS`, then the decimal separator `point`, then the milliseconds.

    The hours may have more than two digits."""
    seconds, milli = divmod(max(0, ms), 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{milli:03}"


def cues(transcript: Transcript, style: Style = PLAIN, *, named: bool = False) -> Iterator[Cue]:
    """Yield all cues of a transcript in order of their starts. Only cues of different channels overlap.

    A segment that contains only punctuation has no cue.

    `named`: reserve space in the first line of a cue for the name of the channel, followed by `: `.
    """
    rules = style.rules
    channels: dict[str | None, list[Segment]] = {}
    spoken = (segment for segment in transcript.segments if not _is_punctuation(segment.text))
    for segment in sorted(spoken, key=lambda segment: segment.start):
        channels.setdefault(segment.channel, []).append(segment)
    if rules.without_stops:
        channels = {name: [punctuated(segment) for segment in parts] for name, parts in channels.items()}
    at_once = overlapping(channels) if rules.hyphens else frozenset()
    each = (_timed(_of_channel(name, parts, at_once, rules, named=named), rules) for name, parts in channels.items())
    merged: Iterator[Cue] = merge(*each, key=lambda cue: cue.start_ms)
    if len(channels) > 1:
        merged = one_at_a_time(merged, rules) if rules.hyphens else apart(merged, rules)
    return _within(merged, round(transcript.source.duration * 1000))


def _within(shown: Iterable[Cue], duration_ms: int) -> Iterator[Cue]:
    """Yield the cues, shortened to end at the end of the file. A cue that starts after this end is not changed, because
    then the duration of the file is wrong."""
    for cue in shown:
        yield replace(cue, end_ms=duration_ms) if cue.start_ms < duration_ms < cue.end_ms else cue


def label(channel: str | None) -> str:
    """Return the prefix of a line that names its channel; "" without a channel name."""
    return f"{channel}: " if channel else ""


def _of_channel(
    channel: str | None, segments: list[Segment], at_once: Container[int], rules: CueRules, *, named: bool
) -> Iterator[tuple[Cue, float]]:
    """Yield each cue of a channel with its reading time in milliseconds. A cue starts with its first word and ends with
    its last word.

    `at_once`: identities of the segments during which other channels speak. The cues of these segments have one
    line."""
    reserved = min(columns(label(channel)), rules.cjk_columns // 2) if named else 0
    shown_ms = 0
    for shared, group in groupby(segments, key=lambda segment: id(segment) in at_once):
        yielded = _of_segments(channel, group, rules.of_one_speaker() if shared else rules, reserved, shown_ms)
        for cue, reading_ms in yielded:
            shown_ms = cue.start_ms
            yield cue, reading_ms


def _of_segments(
    channel: str | None, segments: Iterable[Segment], rules: CueRules, reserved: int, shown_ms: int
) -> Iterator[tuple[Cue, float]]:
    for run in runs((units(segment, rules) for segment in segments), rules):
        for cue in CueLayout(_joined(run), rules, reserved=reserved).cues():
            parts = tuple(line for each in cue.lines if (line := _line(each, without_stops=rules.without_stops)))
            if parts and not (rules.without_stops and _is_punctuation("".join(map(text_of, parts)))):
                shown_ms = max(shown_ms, cue.start_ms)  # keeps the order of the cues, even if their times are wrong
                yield _spoken_cue(channel, cue, parts, shown_ms), cue.read_ms


def _spoken_cue(channel: str | None, cue: CueUnits, parts: tuple[tuple[Part, ...], ...], start_ms: int) -> Cue:
    return Cue(start_ms, max(start_ms, cue.end_ms), tuple(map(text_of, parts)), parts, channel)


def _timed(said: Iterator[tuple[Cue, float]], rules: CueRules) -> Iterator[Cue]:
    """Yield the cues with their final times.

    Each cue is extended until it can be read, but not beyond the maximum duration, and not into the minimum gap before
    the next cue. `said`: the cues of one channel in order of their starts, each with its reading time in
    milliseconds."""
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
    """Join the units of several segments into one text. A space is added between two segments, except after full-width
    punctuation. Changes the list `run` and returns it."""
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
