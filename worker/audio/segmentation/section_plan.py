"""Plans how a file is cut into sections that are streamed at the same time, and which silence is skipped.

A cut is in the middle of a pause, near the position that would make all sections equally long. If there is no pause
near that position, the next section starts a little before the cut (`overlap_before`). Each word at the cut is then
complete in at least one of the two sections.
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
"""Sections are planned to be at least this many times as long as `min_section_s`, so that a cut can move to a pause."""


@dataclass(frozen=True, slots=True)
class CutOptions:
    """Options for cutting a file into sections."""

    sessions: int = 1
    """Number of sections that can be streamed at the same time."""
    min_section_s: float = 60.0
    """Minimum length of a section in seconds, unless the file is shorter."""
    max_section_s: float = 1800.0
    """Intended maximum length of a section in seconds. Longer files get a multiple of `sessions` sections, and the
    later sections start when a session is free."""
    reach: float = 0.25
    """Maximum distance of a cut from its ideal position, as a share of a section's length."""
    overlap_s: float = 2.0
    """Overlap of two sections in seconds, for a cut without a pause."""


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """One section: samples `start` to `end` of the file at the wire rate.

    If `overlap_before` is above 0, the cut may be inside a word. Streaming then begins at `start - overlap_before`,
    while the previous section is streamed to its own `end`. So both sections contain the overlap. The middle of the
    overlap is the quietest moment nearby: words before it belong to the previous section, words after it to this
    section.
    """

    start: int
    end: int
    overlap_before: int = 0

    @property
    def handover(self) -> int:
        """File position (samples) from which words belong to this section."""
        return self.start - self.overlap_before // 2


@dataclass(frozen=True, slots=True)
class StreamingPlan:
    """The plan of one file or channel. Positions are in samples at `rate` (Hz).

    Apart from overlaps, every sample is streamed in exactly one section, or belongs to one skipped range."""

    rate: int
    duration: int
    sections: tuple[SectionPlan, ...]
    """The sections in order; empty if the whole file is skipped. Skipped ranges may be inside a section, but no section
    begins or ends inside a skipped range."""
    skipped: tuple[tuple[int, int], ...] = ()
    """Ranges (start, end) without speech, which are not streamed."""
    speech_s: float | None = None
    """Seconds of speech, or None if silence was not searched."""
    detector: str = ""
    """Name of the speech detector, "level" if only the level decided, or "" if silence was not searched."""
    measured: bool = True
    """Whether the file was read to plan it. Otherwise `duration` and the end of the last section come from its
    header."""
    channel: int | None = None
    """The planned channel of the source (from 0), or None if all channels are mixed."""
    track: TrackSelection = None
    """The requested audio track; with `all`, `channel` is the number of the track, from 0."""

    @property
    def skipped_s(self) -> float:
        return sum(end - start for start, end in self.skipped) / self.rate

    def pieces(self, section: SectionPlan) -> tuple[tuple[int, int], ...]:
        """Return the streamed ranges (start, end) of a section in order. They include its overlap, but not the skipped
        ranges."""
        pieces = []
        at = section.start - section.overlap_before
        for start, end in self.skipped:
            if end <= at or start >= section.end:
                continue
            if start > at:
                pieces.append((at, start))
            # `max`, because a skipped range may begin before the section.
            at = max(at, end)
        if at < section.end:
            pieces.append((at, section.end))
        return tuple(pieces)

    def streamed(self, section: SectionPlan, until: int) -> int:
        """Count the streamed samples of a section before position `until`, without its overlap."""
        pieces = ((max(start, section.start), min(end, until)) for start, end in self.pieces(section))
        return sum(max(0, end - start) for start, end in pieces)


def sections_for(duration_s: float, cutting: CutOptions) -> int:
    """Return the number of sections for `duration_s` seconds of streamed audio."""
    # Cuts move to pauses nearby, so sections are planned longer than the minimum.
    max_sections = max(1, int(duration_s / (cutting.min_section_s * MIN_LENGTH_FACTOR)))
    # The number of sections is a multiple of the number of sessions. Otherwise some sessions would have nothing to do
    # at the end.
    rounds = max(1, int(np.ceil(duration_s / cutting.max_section_s / cutting.sessions)))
    return min(max_sections, cutting.sessions * rounds) if cutting.sessions > 1 else 1


def plan(
    source: Audio | Path,
    *,
    rate: int,
    cutting: CutOptions | None = None,
    skipping: SkipOptions | None = None,
    detector: SpeechDetector | None = None,
    progress: Callable[[float], None] | None = None,
) -> StreamingPlan:
    """Plan one file for a wire rate of `rate` Hz. Reads the file once, with bounded memory. Blocks the thread.

    The file is not read if it becomes one section, nothing is skipped, and its header declares a length. `skipping`: if
    given, audio in which `detector` finds no speech is skipped. If there is no detector, silence, hiss and hum are
    recognized by their level and skipped. `progress` receives the number of seconds read so far, and may raise to stop.
    Raises SourceError.
    """
    if isinstance(source, Path):
        with open_source(source) as opened:
            return plan(opened, rate=rate, cutting=cutting, skipping=skipping, detector=detector, progress=progress)
    cutting = cutting or CutOptions()
    info = source.info
    if skipping is None and info.frames is not None and sections_for(info.frames / info.sample_rate, cutting) == 1:
        return whole(info, rate)
    # If nothing is skipped, the level is sufficient to find pauses. The detector is not used, because it costs more
    # than decoding.
    found = scan(source, detector if skipping is not None else None, progress)
    return plan_scan(found, rate, cutting, skipping, detector.name if detector is not None else "level")


def whole(info: AudioInfo, rate: int) -> StreamingPlan:
    """Plan a source as one section, without reading the source."""
    duration = resampled_length(info.frames or 0, info.sample_rate, rate)
    return StreamingPlan(rate, duration, (SectionPlan(0, duration),), measured=False)


def plan_scan(
    found: Scan, rate: int, cutting: CutOptions, skipping: SkipOptions | None = None, detector: str = "level"
) -> StreamingPlan:
    """Plan the sections of a file from its scan."""
    duration = found.samples(rate)
    if skipping is None:
        return StreamingPlan(rate, duration, _sections(found, rate, (), cutting, None))
    # Skipped ranges are found first, so that sections get equal amounts of streamed audio, not of file time.
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
    min_windows = round(cutting.min_section_s / WINDOW_S)
    reach = int(kept.count / count * cutting.reach)
    half_overlap = round(cutting.overlap_s / 2 / WINDOW_S)
    cuts: list[tuple[int, int]] = []  # start of the next section and its overlap, in streamed windows
    before = 0
    for number in range(1, count):
        # Computed from the ideal position, so that a cut that was moved does not move all later cuts.
        place = kept.count * number // count
        first = max(place - reach, before + min_windows)
        # Leave enough audio for the sections that follow.
        last = min(place + reach, kept.count - (count - number) * min_windows)
        at, pause = best_cut(found, kept, speech, first, place, last)
        # A cut in a pause divides no word. A cut in speech gets an overlap, in which both sections hear the word.
        cuts.append((at, 0) if pause else (min(at + half_overlap, max(at, last)), 2 * half_overlap))
        before = cuts[-1][0]
    return _placed(cuts, kept, lambda window: _sample(window, found, rate))


def _placed(
    cuts: Sequence[tuple[int, int]], kept: StreamedWindows, sample: Callable[[int], int]
) -> tuple[SectionPlan, ...]:
    """Convert cuts in streamed windows to sections of the file. At a cut beside a skipped range, one section ends
    before the range and the next one begins after it."""
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
    """Return the sample (at the wire rate) at which a window begins. For the index after the last window, return the
    end of the file."""
    return found.samples(rate) if window >= found.windows else round(window * WINDOW_S * rate)


_PLANS: Final = TypeAdapter(StreamingPlan | tuple[StreamingPlan, ...])


def plans_json(plans: Sequence[StreamingPlan]) -> str:
    """Serialize the plans as JSON for the ledger. The JSON is an object if channels are mixed, otherwise a list with
    one plan per channel."""
    # Plans are recorded as an object if channels are not separate, because plans of versions without separate channels
    # have this form.
    mixed = len(plans) == 1 and plans[0].channel is None
    return _PLANS.dump_json(plans[0] if mixed else tuple(plans)).decode()


def read_plans(text: str) -> tuple[StreamingPlan, ...]:
    """Parse the output of `plans_json`."""
    plans = _PLANS.validate_json(text)
    return (plans,) if isinstance(plans, StreamingPlan) else plans
