"""How one file is cut into sections that are streamed at the same time, and what of it need not be streamed at all.

A cut lies in the middle of a pause near the place that makes all sections equally long. Where there is no pause within
reach, the next section starts a little earlier (`overlap_before`), so that every word is heard whole by one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from worker.audio.audio_tracks import TrackSelection
from worker.audio.decoding.decode import AudioInfo, open_source
from worker.audio.resample import resampled_length
from worker.audio.segmentation.cut_points import best_cut
from worker.audio.segmentation.scan import WINDOW_S, Scan, scan
from worker.audio.segmentation.silence import (
    SkipOptions,
    StreamedWindows,
    WindowRange,
    silent_stretches,
    speech_windows,
)
from worker.audio.segmentation.speech_detector import SpeechDetector
from worker.audio.source import Audio

MIN_LENGTH_FACTOR: Final = 1.25
"""Sections are at least this many times as long as the shortest, so that there is room to find a pause."""


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How to cut; all in seconds."""

    sessions: int = 1
    """Sections that can be streamed at the same time."""
    min_section_s: float = 60.0
    """No section is shorter, unless the file is."""
    max_section_s: float = 1800.0
    """Aim for no section longer than this, in rounds of `sessions`: later ones go where a session is free."""
    reach: float = 0.25
    """How far from its place a cut may be moved to find a pause, as a share of a section's length."""
    overlap_s: float = 2.0
    """Where there is no pause."""


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """Samples `start` to `end` of the file at the wire rate.

    With `overlap_before` > 0 the cut may lie inside a word: stream from `start - overlap_before` on. The section before
    is streamed to its own `end`, so both hear the overlap; its middle is the quietest place around, and there one hands
    over to the other: words before it are those of the section before, words after it those of this one.
    """

    start: int
    end: int
    overlap_before: int = 0

    @property
    def handover(self) -> int:
        """File position from which words are this section's."""
        return self.start - self.overlap_before // 2


@dataclass(frozen=True, slots=True)
class StreamingPlan:
    """Every sample of the file lies in exactly one section's pieces or in one skipped stretch. Samples at `rate`."""

    rate: int
    duration: int
    sections: tuple[SectionPlan, ...]
    """In order. No section begins or ends inside a skipped stretch, but some may lie inside a section. None at all
    when the whole file is skipped."""
    skipped: tuple[tuple[int, int], ...] = ()
    """(start, end) of what holds no speech and is not streamed."""
    speech_s: float | None = None
    """Seconds that hold speech as far as it was looked for."""
    detector: str = ""
    """What looked for speech: a detector's name, "level", or "" when nothing did."""
    measured: bool = True
    """The file was read; otherwise `duration` and the last end are what its header says."""
    channel: int | None = None
    """The channel of the source this is the plan of, from 0; None: all of them mixed."""
    track: TrackSelection = None
    """The requested audio track; with `all`, `channel` is the number of the track, from 0."""

    @property
    def skipped_s(self) -> float:
        return sum(end - start for start, end in self.skipped) / self.rate

    def pieces(self, section: SectionPlan) -> tuple[tuple[int, int], ...]:
        """What of a section is streamed, in order: its overlap and samples without those skipped."""
        pieces = []
        at = section.start - section.overlap_before
        for start, end in self.skipped:
            if end <= at or start >= section.end:
                continue
            if start > at:
                pieces.append((at, start))
            at = max(at, end)
        if at < section.end:
            pieces.append((at, section.end))
        return tuple(pieces)

    def streamed(self, section: SectionPlan, until: int) -> int:
        """Samples of a section before `until` that are streamed, its overlap not counted."""
        pieces = ((max(start, section.start), min(end, until)) for start, end in self.pieces(section))
        return sum(max(0, end - start) for start, end in pieces)


def sections_for(duration_s: float, cutting: CutOptions) -> int:
    """How many sections a file of `duration_s` seconds (of what is streamed) becomes."""
    most = max(1, int(duration_s / (cutting.min_section_s * MIN_LENGTH_FACTOR)))
    rounds = max(1, int(np.ceil(duration_s / cutting.max_section_s / cutting.sessions)))
    return min(most, cutting.sessions * rounds) if cutting.sessions > 1 else 1


def plan(
    source: Audio | Path,
    *,
    rate: int,
    cutting: CutOptions | None = None,
    skipping: SkipOptions | None = None,
    detector: SpeechDetector | None = None,
    progress: Callable[[float], None] | None = None,
) -> StreamingPlan:
    """Plan one file for a wire rate of `rate` Hz. Reads it once, in bounded memory, and blocks the thread meanwhile; a
    file that becomes one section whole is not read when its header tells a length.

    `skipping`: leave out what holds no speech, as `detector` hears it; without one silence, hiss and hum, told by the
    level. `progress` is told the seconds read, and may raise to end it. Raises SourceError.
    """
    if isinstance(source, Path):
        with open_source(source) as opened:
            return plan(opened, rate=rate, cutting=cutting, skipping=skipping, detector=detector, progress=progress)
    cutting = cutting or CutOptions()
    info = source.info
    if skipping is None and info.frames is not None and sections_for(info.frames / info.sample_rate, cutting) == 1:
        return whole(info, rate)
    found = scan(source, detector if skipping is not None else None, progress)
    return plan_scan(found, rate, cutting, skipping, detector.name if detector is not None else "level")


def whole(info: AudioInfo, rate: int) -> StreamingPlan:
    """All of a source as one section, without reading it."""
    duration = resampled_length(info.frames or 0, info.sample_rate, rate)
    return StreamingPlan(rate, duration, (SectionPlan(0, duration),), measured=False)


def plan_scan(
    found: Scan, rate: int, cutting: CutOptions, skipping: SkipOptions | None = None, detector: str = "level"
) -> StreamingPlan:
    """The plan for what a scan found (pure)."""
    duration = found.samples(rate)
    if skipping is None:
        return StreamingPlan(rate, duration, _sections(found, rate, (), cutting, None))
    speech = speech_windows(found, skipping)
    stretches = silent_stretches(found, speech, skipping)
    return StreamingPlan(
        rate,
        duration,
        _sections(found, rate, stretches, cutting, speech),
        skipped=tuple((_sample(s.first, found, rate), _sample(s.last, found, rate)) for s in stretches),
        speech_s=round(min(float(np.count_nonzero(speech)) * WINDOW_S, duration / rate), 3),
        detector=detector,
    )


def _sections(
    found: Scan, rate: int, stretches: Sequence[WindowRange], cutting: CutOptions, speech: npt.NDArray[np.bool_] | None
) -> tuple[SectionPlan, ...]:
    kept = StreamedWindows(found.windows, stretches)
    count = sections_for(kept.count * WINDOW_S, cutting)
    least = round(cutting.min_section_s / WINDOW_S)
    reach = int(kept.count / count * cutting.reach)
    half_overlap = round(cutting.overlap_s / 2 / WINDOW_S)
    cuts: list[tuple[int, int]] = []  # where the next section starts and its overlap, in kept windows
    before = 0
    for number in range(1, count):
        place = kept.count * number // count
        first = max(place - reach, before + least)
        last = min(place + reach, kept.count - (count - number) * least)
        at, pause = best_cut(found, kept, speech, first, place, last)
        cuts.append((at, 0) if pause else (min(at + half_overlap, max(at, last)), 2 * half_overlap))
        before = cuts[-1][0]
    return _placed(cuts, kept, lambda window: _sample(window, found, rate))


def _placed(
    cuts: Sequence[tuple[int, int]], kept: StreamedWindows, sample: Callable[[int], int]
) -> tuple[SectionPlan, ...]:
    """Cuts counted in kept windows as sections of the file. At a seam, one section ends before what is skipped and the
    next begins behind it."""
    if not kept.count:
        return ()
    sections = []
    start, overlap = sample(kept.window(0)), 0
    for at, windows in [*cuts, (kept.count, 0)]:
        sections.append(SectionPlan(start, sample(kept.window(at - 1) + 1), overlap))
        if at < kept.count:
            start = sample(kept.window(at))
            overlap = start - sample(max(kept.window(at) - windows, kept.window(0)))
    return tuple(sections)


def _sample(window: int, found: Scan, rate: int) -> int:
    """Where a window begins at the wire rate; the end of the file for the one behind the last."""
    return found.samples(rate) if window >= found.windows else round(window * WINDOW_S * rate)


_PLANS: Final = TypeAdapter(StreamingPlan | tuple[StreamingPlan, ...])


def plans_json(plans: Sequence[StreamingPlan]) -> str:
    """The JSON form that the ledger stores: for mixed channels the one plan itself, else a list."""
    mixed = len(plans) == 1 and plans[0].channel is None
    return _PLANS.dump_json(plans[0] if mixed else tuple(plans)).decode()


def read_plans(text: str) -> tuple[StreamingPlan, ...]:
    """Reads the output of `plans_json`."""
    plans = _PLANS.validate_json(text)
    return (plans,) if isinstance(plans, StreamingPlan) else plans
