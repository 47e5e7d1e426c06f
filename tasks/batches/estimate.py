"""Estimates the sessions, time and cost of a batch from the lengths of its files (pure)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from tasks.batches.summary import FailureGroup, JobLine, grouped
from worker.audio.segmentation.section_plan import CutOptions, sections_for


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class SourceProbe(_Value):
    """Facts about one source, from its header or from its audio."""

    source: str
    # None for a source at an address, which is not examined.
    length_s: float | None
    # Seconds with speech, and seconds that would be skipped as silence. None without speech detection. With several
    # channels: the sum of all channels.
    speech_s: float | None = None
    silence_s: float | None = None
    # Channels that are streamed separately, without silent ones; 1 if all are mixed.
    channels: int = 1
    warnings: tuple[str, ...] = ()


class BatchLimits(_Value):
    """The settings that determine time and cost. `speed`: a factor of real time, or None if it is not known."""

    sessions: int
    job_sessions: int
    speed: float | None
    session_max_s: float
    flush_s: float
    skip_silence: bool
    price_per_hour: float


class BatchEstimate(_Value):
    """The estimate of a batch. `time_s` and `longest_s` are seconds of wall time, other `*_s` seconds of audio."""

    schema_version: int = 1
    files: int
    will_fail: int
    audio_s: float
    speech_s: float | None
    # Audio to stream: without skipped silence, with the tail silence of each session.
    streamed_s: float
    sessions: int
    limits: BatchLimits
    time_s: float | None
    # Wall time of the longest single file.
    longest_s: float | None
    cost: float | None
    failures: tuple[FailureGroup, ...]
    failing: tuple[JobLine, ...]
    # Sources that were not examined. No sum includes them.
    unknown: tuple[str, ...]
    warnings: dict[str, tuple[str, ...]]
    # Media files that are left out, with the reasons.
    left_out: dict[str, str] = {}


def estimate_batch(probes: Sequence[SourceProbe], failing: Sequence[JobLine], limits: BatchLimits) -> BatchEstimate:
    """Estimate the batch of `probes`; `failing` are the sources that cannot be transcribed."""
    known = [look for look in probes if look.length_s is not None]
    sections = [list(_sections(look, limits)) for look in known]
    flat = [length for some in sections for length in some]
    streamed_s = sum(flat)
    speech = [look.speech_s for look in known if look.speech_s is not None]
    longest = max((_shared(some, min(limits.sessions, limits.job_sessions)) for some in sections), default=0.0)
    time_s = None if limits.speed is None else round(_shared(flat, limits.sessions) / limits.speed, 1)
    return BatchEstimate(
        files=len(probes) + len(failing),
        will_fail=len(failing),
        audio_s=round(sum(look.length_s or 0.0 for look in known), 3),
        speech_s=round(sum(speech), 3) if speech and len(speech) == len(known) else None,
        streamed_s=round(streamed_s, 3),
        sessions=sum(_rotations(length, limits) for length in flat),
        limits=limits,
        time_s=time_s,
        longest_s=None if limits.speed is None else round(longest / limits.speed, 1),
        cost=round(streamed_s / 3600 * limits.price_per_hour, 4) if limits.price_per_hour else None,
        failures=grouped(failing),
        failing=tuple(failing),
        unknown=tuple(look.source for look in probes if look.length_s is None),
        warnings={look.source: look.warnings for look in probes if look.warnings},
    )


def _sections(look: SourceProbe, limits: BatchLimits) -> Iterable[float]:
    """Seconds to stream for each section of a file."""
    if not look.channels:
        return
    length_s = look.length_s or 0.0
    if limits.skip_silence and look.silence_s is not None:
        length_s = max(0.0, length_s - look.silence_s / look.channels)
    sessions = math.ceil(min(limits.sessions, limits.job_sessions) / look.channels)
    count = sections_for(length_s, CutOptions(sessions=sessions))
    for _ in range(count * look.channels if length_s else 0):
        part_s = length_s / count
        yield part_s + limits.flush_s * _rotations(part_s, limits)


def _rotations(seconds: float, limits: BatchLimits) -> int:
    """Number of sessions that a section needs, one after the other."""
    return max(1, math.ceil(seconds / limits.session_max_s)) if limits.session_max_s else 1


def _shared(lengths: Sequence[float], slots: int) -> float:
    """Seconds until all `lengths` are done, if each free slot takes the longest remaining one."""
    busy = [0.0] * max(1, min(slots, len(lengths) or 1))
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(busy, busy[0] + length)
    return max(busy)
