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


class Look(_Value):
    """What was found out of one source. Seconds."""

    source: str
    # None for a source at an address, which is not examined.
    length_s: float | None
    # Seconds that hold speech, and seconds that would be left out as silence, or None without a search for speech.
    speech_s: float | None = None
    silence_s: float | None = None
    # Channels that are streamed apart, 1 where all are mixed; without those in which nothing was heard. The seconds
    # of speech and of silence are those of all of them together.
    channels: int = 1
    warnings: tuple[str, ...] = ()


class Limits(_Value):
    """The limits of a batch. `speed` is a factor of real time, or None if it is not known beforehand."""

    sessions: int
    job_sessions: int
    speed: float | None
    session_max_s: float
    flush_s: float
    skip_silence: bool
    price_per_hour: float


class Plan(_Value):
    """Times in seconds of audio, `time_s` and `longest_s` of wall time."""

    schema_version: int = 1
    files: int
    will_fail: int
    audio_s: float
    speech_s: float | None
    # The audio that is sent: without skipped silence, with the silence at the end of each session.
    streamed_s: float
    sessions: int
    limits: Limits
    time_s: float | None
    # What the longest single file takes of it.
    longest_s: float | None
    cost: float | None
    failures: tuple[FailureGroup, ...]
    failing: tuple[JobLine, ...]
    # Sources that were not looked into, and in no sum.
    unknown: tuple[str, ...]
    warnings: dict[str, tuple[str, ...]]
    # Skipped media files of folders, each with the reason.
    left_out: dict[str, str] = {}


def plan_batch(looks: Sequence[Look], failing: Sequence[JobLine], limits: Limits) -> Plan:
    known = [look for look in looks if look.length_s is not None]
    sections = [list(_sections(look, limits)) for look in known]
    flat = [length for some in sections for length in some]
    streamed_s = sum(flat)
    speech = [look.speech_s for look in known if look.speech_s is not None]
    longest = max((_shared(some, min(limits.sessions, limits.job_sessions)) for some in sections), default=0.0)
    time_s = None if limits.speed is None else round(_shared(flat, limits.sessions) / limits.speed, 1)
    return Plan(
        files=len(looks) + len(failing),
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
        unknown=tuple(look.source for look in looks if look.length_s is None),
        warnings={look.source: look.warnings for look in looks if look.warnings},
    )


def _sections(look: Look, limits: Limits) -> Iterable[float]:
    """Seconds that are streamed for each section of a file."""
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


def _rotations(seconds: float, limits: Limits) -> int:
    """Sessions that a section takes, one after the other."""
    return max(1, math.ceil(seconds / limits.session_max_s)) if limits.session_max_s else 1


def _shared(lengths: Sequence[float], slots: int) -> float:
    """How long the work takes when each free slot takes the longest piece that is left."""
    busy = [0.0] * max(1, min(slots, len(lengths) or 1))
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(busy, busy[0] + length)
    return max(busy)
