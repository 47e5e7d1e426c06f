"""Writes Praat TextGrid files (.TextGrid) in the long text format, with two tiers for each channel: segments and words.

https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from worker.transcript.model import Segment, Transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.style import PLAIN, Style
from worker.transcript.subtitles.word_alignment import align

_MIN_INTERVAL_S: Final = 0.001
"""Minimum length of an interval: Praat rejects intervals without a length."""
_Interval = tuple[float, float, str]


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield the TextGrid file in pieces. Times are seconds.

    The intervals of a tier must follow each other without gaps from 0 to the end of the audio. So gaps become intervals
    without text, overlaps are removed, and intervals are at least 1 ms long."""
    del style
    channels: dict[str | None, list[Segment]] = {}
    for segment in sorted(transcript.segments, key=lambda segment: segment.start):
        channels.setdefault(segment.channel, []).append(segment)
    tiers: dict[str, list[_Interval]] = {}
    for channel, segments in (channels or {None: []}).items():
        name = f"{tidy(channel)} " if channel else ""
        tiers[f"{name}segments"] = _apart((s.start, s.end, text) for s in segments if (text := tidy(s.text)))
        tiers[f"{name}words"] = _apart((w.start, w.end, w.text) for s in segments for w in align(s))
    ends = [intervals[-1][1] for intervals in tiers.values() if intervals]
    end = max([round(transcript.source.duration, 3), _MIN_INTERVAL_S, *ends])
    yield 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    yield f"xmin = 0\nxmax = {end:.3f}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    for number, (name, intervals) in enumerate(tiers.items(), start=1):
        yield from _tier(number, name, _whole(intervals, end), end)


def _apart(intervals: Iterable[_Interval]) -> list[_Interval]:
    """Return the intervals in order of time, in whole milliseconds, without overlaps and at least 1 ms long."""
    found: list[_Interval] = []
    for start, end, text in sorted(intervals, key=lambda interval: interval[0]):
        begin = max(0.0, round(start, 3))
        if found and found[-1][1] > begin:
            # Shorten the previous interval, but not below the minimum length.
            last = found[-1]
            found[-1] = (last[0], max(begin, round(last[0] + _MIN_INTERVAL_S, 3)), last[2])
            begin = found[-1][1]
        found.append((begin, max(round(end, 3), round(begin + _MIN_INTERVAL_S, 3)), text))
    return found


def _whole(intervals: list[_Interval], end: float) -> list[_Interval]:
    """Return the intervals with an interval without text in each gap, so that they cover 0 to `end`."""
    found: list[_Interval] = []
    at = 0.0
    for start, until, text in intervals:
        if start > at:
            found.append((at, start, ""))
        found.append((start, until, text))
        at = until
    if at < end:
        found.append((at, end, ""))
    return found


def _tier(number: int, name: str, intervals: list[_Interval], end: float) -> Iterator[str]:
    yield f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{_escape(name)}"\n'
    yield f"        xmin = 0\n        xmax = {end:.3f}\n        intervals: size = {len(intervals)}\n"
    for index, (start, until, text) in enumerate(intervals, start=1):
        yield f"        intervals [{index}]:\n            xmin = {start:.3f}\n            xmax = {until:.3f}\n"
        yield f'            text = "{_escape(text)}"\n'


def _escape(text: str) -> str:
    return text.replace('"', '""')
