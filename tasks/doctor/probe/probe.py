"""Runs the measurements of a probe in order, within a budget of audio, and builds the profile."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tasks.doctor.finding import Finding, fail, ok, warn
from tasks.doctor.probe import steps
from tasks.doctor.probe.estimates import speech_end
from tasks.doctor.probe.steps import Sample
from tasks.doctor.probe.wording import sentence
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames
from worker.errors import SttError
from worker.secret_masking import show_url
from worker.service_profile import ServiceProfile
from worker.session_options import parse_options
from worker.settings import Settings

MAX_SAMPLE_S: Final = 15.0
WINDOW_S: Final = 0.02
DEFAULT_PAUSE_S: Final = 2.5
"""Pause between repetitions if the service did not commit at a pause."""
MIN_LENGTH_S: Final = 20.0
"""Minimum of audio for the measurement of the longest session."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a probe. `audio_s`: maximum seconds of audio in all sessions together; the service may charge for this
    audio. `sessions`: maximum number of sessions at the same time."""

    audio_s: float = 600.0
    sessions: int = 16


def load_sample(path: Path, rate: int) -> Sample:
    """Decode the sample at `rate` Hz, at most MAX_SAMPLE_S seconds of it. Raises SourceError."""
    with open_source(path) as source:
        pcm = b"".join(wire_frames(source, rate, rate))[: round(MAX_SAMPLE_S * rate) * 2]
    window = round(WINDOW_S * rate)
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    levels = [float(np.abs(samples[at : at + window]).mean()) / 32768 for at in range(0, len(samples), window)]
    return Sample(pcm, rate, speech_end(levels, WINDOW_S))


async def probe(
    settings: Settings, path: Path, budget: Budget, report: Callable[[ServiceProfile], None]
) -> AsyncIterator[Finding]:
    """Yield a finding for each measurement, and pass the profile to `report` at the end. A failed measurement does not
    prevent the others. `path`: audio file with a few seconds of speech."""
    sample = load_sample(path, settings.sample_rate)
    facts: dict[str, Any] = {}
    problems: list[str] = []
    left_s = budget.audio_s

    async def run(name: str, audio_s: float, step: Callable[[], Awaitable[dict[str, Any]]]) -> Finding:
        """Run a step that sends at most `audio_s` seconds of audio, if the budget allows it."""
        nonlocal left_s
        if audio_s > left_s:
            problems.append(f"{name}: {audio_s:.0f} s of audio are needed, {left_s:.0f} s are left")
            return warn("probe", f"{name}: not measured: {audio_s:.0f} s of audio needed", "give more --probe-minutes")
        left_s -= audio_s
        try:
            found = await step()
        except SttError as exc:
            problems.append(f"{name}: {exc}")
            return warn("probe", f"{name}: not measured: {exc}")
        facts.update(found)
        return ok("probe", f"{name}: {sentence(found)}")

    pause_audio_s = sample.length_s + steps.MAX_PAUSE_S
    yield await run("pause before a commit", pause_audio_s, lambda: steps.measure_pause(settings, sample))
    if facts.get("word_times") is None:
        # Without text nothing else can be measured, and a profile of a refused account would harm later jobs.
        yield fail(
            "probe", "the service returned no text for the sample: no profile", "use --sample FILE, or see above"
        )
        return
    yield await run("stop-session", sample.speech_s, lambda: steps.measure_stop(settings, sample))
    yield await run("sessions at the same time", 0.0, lambda: steps.measure_sessions(settings, budget.sessions))
    if options := parse_options(settings.session_options):
        # Each session that is refused leaves out at least one option.
        options_audio_s = steps.OPTION_AUDIO_S * (1 + len(options))
        yield await run("session options", options_audio_s, lambda: steps.measure_options(settings, options))
    speeds_audio_s = steps.speed_audio_s(sample) * len(steps.SPEEDS)
    yield await run("speed", speeds_audio_s, lambda: steps.measure_speed(settings, sample))
    pause_s = (facts.get("commit_pause_s") or DEFAULT_PAUSE_S - 1.0) + 1.0
    drift_audio_s = (sample.length_s + pause_s) * steps.REPEATS
    yield await run("drift of word times", drift_audio_s, lambda: steps.measure_drift(settings, sample, pause_s))
    speed, length_audio_s = facts.get("max_speed") or 1.0, max(left_s, MIN_LENGTH_S)
    yield await run(
        "longest session", length_audio_s, lambda: steps.measure_length(settings, sample, length_audio_s, speed)
    )
    report(ServiceProfile(url=show_url(settings.url), measured_at=time.time(), problems=tuple(problems), **facts))
