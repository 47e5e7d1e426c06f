"""Composes the transcript document from the segments and the facts about the run.

No I/O, except for the clock and the versions of installed packages.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from worker.audio.decoding.decode import AudioInfo
from worker.audio.decoding.phase_cancellation import INVERTED
from worker.audio.warning_log import counted
from worker.settings import Speed, show_speed
from worker.transcript.model import (
    ChannelFacts,
    Coverage,
    Gap,
    SectionFacts,
    Segment,
    SessionFacts,
    SessionOption,
    SilenceSavings,
    Source,
    SpeedReduction,
    Streamed,
    TimeRange,
    Transcript,
    UnansweredSound,
    Waveform,
)
from worker.transcript.quality import QualityInputs, assess
from worker.version import installed_version

ROUNDING_TOLERANCE_S: Final = 0.01
"""Maximum gap in seconds that rounding of times can cause between consecutive parts of the source."""
# Packages whose versions are written to the document.
_PACKAGES: Final = ("stt-batch", "python-socketio", "soundfile", "soxr")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts about a finished run, other than its segments."""

    job_id: str
    name: str
    """File name of the source."""
    path: str
    """Path or address of the source, without secrets."""
    sha256: str
    size_bytes: int
    info: AudioInfo
    duration_s: float
    """Decoded length in seconds, or the length in the header if the source was not decoded to its end. For channels
    that are streamed separately, the length of the longest one."""
    channel_lengths_s: tuple[tuple[str | None, float], ...]
    """(name, length in seconds) of each streamed channel. Audio tracks have different lengths."""
    warnings: tuple[str, ...]
    language: str | None
    speed: Speed
    """Requested speed."""
    speed_reached: float
    """Speed at the end of the run, as a factor of real time."""
    speed_falls: tuple[SpeedReduction, ...]
    failures: tuple[str, ...]
    """Why sessions ended early, in order."""
    wire_rate: int
    """Sample rate of the sent audio in Hz."""
    sections: tuple[SectionFacts, ...]
    channels: tuple[ChannelFacts, ...]
    """The channels that were requested separately; empty if all channels were mixed."""
    skipped: tuple[TimeRange, ...]
    """Silence that was not streamed."""
    detector: str
    """Method of speech detection (silero or level); "" if silence was not skipped."""
    price_per_hour: float
    """Price of an hour of streamed audio; 0 if no price is configured."""
    missing: tuple[Gap, ...]
    speech_share: float | None
    """Share of the checked time of the segments in which a detector finds speech (0 to 1), or None if not checked."""
    endpoint: str
    sessions: tuple[SessionFacts, ...]
    session_options: tuple[SessionOption, ...]
    sent_s: float
    elapsed_s: float
    levels: tuple[float, str] | None = None
    """Loudness of the audio; see `worker.audio.level_history.drawing`."""
    streamed: Streamed | None = None
    """The audio of the last attempt and the time in which it was streamed."""
    one_script: bool = False
    """Whether the files of the transcript are written in one Chinese script."""


def compose(segments: list[Segment], facts: RunFacts) -> Transcript:
    """Compose the transcript document. `segments` must be in the order of the file."""
    spoken = [s for s in segments if s.text]
    duration = round(facts.duration_s, 3)
    warnings = list(facts.warnings)
    if any(not s.committed for s in spoken):
        warnings.append("the service never committed the last words; they are its last partial text")
    if estimated := sum(s.timing == "estimated" and s.committed for s in spoken):
        warnings.append(
            f"{estimated} of {len(spoken)} segments have no usable word times from the service; times are estimated"
        )
    if dropped := sum(section.dropped for section in facts.sections):
        pieces = "piece" if dropped == 1 else "pieces"
        warnings.append(f"dropped {dropped} repeated {pieces} of text without sound: the service repeated itself")
    detected = next((s.language for s in spoken if s.language), None)
    coverage = _coverage(spoken, facts, duration)
    warnings += _sound_warning(coverage.unanswered)
    unanswered_s = sum(one.seconds for one in coverage.unanswered if one.likely_speech)
    inputs = QualityInputs(
        language=facts.language,
        detected=detected,
        unanswered_s=unanswered_s,
        speech_share=facts.speech_share,
        channels=next((text for text in facts.warnings if INVERTED in text), None),
        one_script=facts.one_script,
    )
    return Transcript(
        job_id=facts.job_id,
        language=detected or facts.language,
        text="\n".join(s.text for s in spoken),
        segments=tuple(spoken),
        source=Source(
            name=facts.name,
            path=facts.path,
            sha256=facts.sha256,
            size_bytes=facts.size_bytes,
            duration=duration,
            sample_rate=facts.info.sample_rate,
            channels=facts.info.channels,
            format=facts.info.format,
        ),
        sessions=facts.sessions,
        session_options=facts.session_options,
        coverage=coverage,
        saved=_saved(facts),
        speed=show_speed(facts.speed),
        speed_reached=round(facts.speed_reached, 2) if facts.speed == "auto" else None,
        speed_falls=facts.speed_falls,
        failures=facts.failures,
        warnings=counted(warnings),
        quality=assess(spoken, coverage, inputs),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        elapsed=round(facts.elapsed_s, 3),
        streamed=facts.streamed,
        endpoint=facts.endpoint,
        versions=_versions(),
        waveform=None if facts.levels is None else Waveform(step=facts.levels[0], levels=facts.levels[1]),
    )


def _coverage(spoken: list[Segment], facts: RunFacts, duration: float) -> Coverage:
    return Coverage(
        duration=duration,
        sent=round(min(facts.sent_s, sum(length_s for _, length_s in facts.channel_lengths_s)), 3),
        committed_until=max((s.end for s in spoken if s.committed), default=0.0),
        sample_rate=facts.wire_rate,
        channels=facts.channels,
        sections=tuple(section.model_copy(update={"unanswered": ()}) for section in facts.sections),
        skipped=tuple(_rounded_range(stretch) for stretch in facts.skipped),
        missing=(*facts.missing, *unaccounted_ranges(facts)),
        unanswered=tuple(one for section in facts.sections for one in section.unanswered),
    )


def _sound_warning(unanswered: tuple[UnansweredSound, ...]) -> list[str]:
    """Return a list with one warning about all sounds without text, or an empty list if there are no such sounds.

    The warning does not include sounds that `coverage.missing` already reports as missing speech."""
    sounds = [one for one in unanswered if not one.missing]
    if not sounds:
        return []
    seconds, first = sum(one.end - one.start for one in sounds), min(sounds, key=lambda one: one.start)
    places = "" if len(sounds) == 1 else f" in {len(sounds)} places, the first"
    found = "the speech detector finds no speech in it"
    if any(one.sound == "speech" for one in sounds):
        found = "the speech detector finds less than a second of speech in each place"
    if any(one.sound == "unknown" for one in sounds):
        found = "it may be speech: install the extra 'local' for the speech detector"
    where = f"{first.start:.1f}–{first.end:.1f} s"
    return [f"the service gave no text for {seconds:.1f} s of sound{places} at {where}; {found}"]


def unaccounted_ranges(facts: RunFacts) -> tuple[Gap, ...]:
    """Return the parts of the source that were neither sent nor skipped nor reported as missing, for each channel.

    The result should be empty. A range in the result means that another module has a bug that loses audio."""
    return tuple(
        gap
        for channel, length_s in facts.channel_lengths_s
        for gap in _unaccounted_of_channel(facts, channel, length_s)
    )


def _unaccounted_of_channel(facts: RunFacts, channel: str | None, length_s: float) -> list[Gap]:
    rate = facts.wire_rate
    sections = (section for section in facts.sections if section.channel == channel)
    known = [(s.start / rate, (s.end if s.finished else s.sent) / rate) for s in sections]
    known += [(s.start, s.end) for s in facts.skipped if s.channel == channel]
    known += [(gap.start, gap.end) for gap in facts.missing if gap.channel == channel]
    gaps, at = [], 0.0
    for start, end in [*sorted(known), (length_s, length_s)]:
        if start > at + ROUNDING_TOLERANCE_S:
            reason = "not accounted for: please report this"
            gaps.append(Gap(start=round(at, 3), end=round(start, 3), channel=channel, reason=reason))
        at = max(at, end)
    return gaps


def _rounded_range(stretch: TimeRange) -> TimeRange:
    return stretch.model_copy(update={"start": round(stretch.start, 3), "end": round(stretch.end, 3)})


def _saved(facts: RunFacts) -> SilenceSavings | None:
    if not facts.detector:
        return None
    seconds = sum(stretch.end - stretch.start for stretch in facts.skipped)
    money = round(seconds / 3600 * facts.price_per_hour, 4) if facts.price_per_hour else None
    return SilenceSavings(minutes=round(seconds / 60, 2), money=money, detector=facts.detector)


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {n: installed_version(n) or "not installed" for n in _PACKAGES}
