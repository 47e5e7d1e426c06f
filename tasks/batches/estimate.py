"""Estimates the sessions, time and cost of a batch from the lengths of its files. No I/O."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from tasks.batches.summary import FailureGroup, JobLine, grouped
from worker.audio.segmentation.section_plan import CutOptions, sections_for


class _EstimateModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class SourceProbe(_EstimateModel):
    """Facts about one source before its transcription, read from its header or from its audio."""

    source: str
    # Length of the audio, or None for a source at an address, because it is not examined.
    length_s: float | None
    # Seconds with speech, and seconds that would be skipped as silence, or None without speech detection. With
    # several channels: the sum of all channels.
    speech_s: float | None = None
    silence_s: float | None = None
    # Number of channels that are streamed separately, not counting silent ones; 1 if all channels are mixed.
    channels: int = 1
    warnings: tuple[str, ...] = ()


class BatchLimits(_EstimateModel):
    """The settings that determine time and cost. `speed`: a factor of real time, or None if it is not known.
    `tail_silence_s`: the silence that is streamed at the end of each session."""

    max_sessions: int
    job_max_sessions: int
    speed: float | None
    session_max_s: float
    tail_silence_s: float
    skip_silence: bool
    price_per_hour: float


class BatchEstimate(_EstimateModel):
    """The estimate of a batch. `*_wall_time_s` are seconds of wall time, other `*_s` seconds of audio."""

    schema_version: int = 2
    files: int
    # Number of files that cannot be transcribed.
    failing_count: int
    audio_s: float
    speech_s: float | None
    # Audio to stream. It includes the silence at the end of each session, but not the silence that is skipped.
    streamed_s: float
    sessions: int
    limits: BatchLimits
    batch_wall_time_s: float | None
    # The wall time of the file that takes longest.
    longest_file_wall_time_s: float | None
    cost: float | None
    failures: tuple[FailureGroup, ...]
    failing_sources: tuple[JobLine, ...]
    # Sources at addresses. They are not examined, and the sums do not include them.
    unexamined: tuple[str, ...]
    warnings: dict[str, tuple[str, ...]]
    # Media files that are not transcribed, and the reason for each.
    left_out: tuple[dict[str, str], ...] = ()


def estimate_batch(probes: Sequence[SourceProbe], failing: Sequence[JobLine], limits: BatchLimits) -> BatchEstimate:
    """Estimate a batch. `probes`: its sources that can be transcribed. `failing`: its sources that cannot be
    transcribed."""
    known = [look for look in probes if look.length_s is not None]
    sections = [list(_sections(look, limits)) for look in known]
    flat = [length for some in sections for length in some]
    streamed_s = sum(flat)
    speech = [look.speech_s for look in known if look.speech_s is not None]
    longest = max((_shared(some, min(limits.max_sessions, limits.job_max_sessions)) for some in sections), default=0.0)
    wall_time_s = None if limits.speed is None else round(_shared(flat, limits.max_sessions) / limits.speed, 1)
    return BatchEstimate(
        files=len(probes) + len(failing),
        failing_count=len(failing),
        audio_s=round(sum(look.length_s or 0.0 for look in known), 3),
        speech_s=round(sum(speech), 3) if speech and len(speech) == len(known) else None,
        streamed_s=round(streamed_s, 3),
        sessions=sum(_rotations(length, limits) for length in flat),
        limits=limits,
        batch_wall_time_s=wall_time_s,
        longest_file_wall_time_s=None if limits.speed is None else round(longest / limits.speed, 1),
        cost=round(streamed_s / 3600 * limits.price_per_hour, 4) if limits.price_per_hour else None,
        failures=grouped(failing),
        failing_sources=tuple(failing),
        unexamined=tuple(look.source for look in probes if look.length_s is None),
        warnings={look.source: look.warnings for look in probes if look.warnings},
    )


def _sections(look: SourceProbe, limits: BatchLimits) -> Iterable[float]:
    """Yield how many seconds of audio are streamed for each section of a file. A section is a part of one channel with
    its own sessions."""
    if not look.channels:
        return
    length_s = look.length_s or 0.0
    if limits.skip_silence and look.silence_s is not None:
        # `silence_s` is the sum over all channels.
        length_s = max(0.0, length_s - look.silence_s / look.channels)
    sessions = math.ceil(min(limits.max_sessions, limits.job_max_sessions) / look.channels)
    count = sections_for(length_s, CutOptions(sessions=sessions))
    for _ in range(count * look.channels if length_s else 0):
        part_s = length_s / count
        yield part_s + limits.tail_silence_s * _rotations(part_s, limits)


def _rotations(seconds: float, limits: BatchLimits) -> int:
    """Return the number of sessions that a section of `seconds` needs, one after the other."""
    return max(1, math.ceil(seconds / limits.session_max_s)) if limits.session_max_s else 1


def _shared(lengths: Sequence[float], slots: int) -> float:
    """Return how many seconds `slots` parallel slots need for pieces of work with the given `lengths`, if each free
    slot takes the longest remaining piece."""
    busy = [0.0] * max(1, min(slots, len(lengths) or 1))
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(busy, busy[0] + length)
    return max(busy)
