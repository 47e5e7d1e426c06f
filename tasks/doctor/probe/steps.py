"""The measurements of a probe. Each opens its own sessions and returns the fields of the profile that it measured.

All measurements raise EndpointError if the service refuses a session, unless the service refuses it because a limit is
reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from tasks.doctor.probe.estimates import drift_of
from tasks.doctor.probe.session import ProbeSession
from worker.audio.pcm_frames import BYTES_PER_SAMPLE
from worker.errors import EndpointBusy, SessionLost
from worker.pipeline.session_option_results import SessionOptionResults
from worker.realtime.messages import Closed, ServiceError
from worker.realtime.session_states import EndReason, SessionEnd
from worker.secret_masking import masker_of
from worker.settings import Settings

MAX_PAUSE_S: Final = 12.0
"""Seconds of silence after which a service counts as one that does not commit at a pause."""
FLUSH_WAIT_S: Final = 6.0
"""Seconds to wait for commits after stop-session."""
SPEEDS: Final = (2.0, 4.0, 8.0)
SPEED_AUDIO_S: Final = 24.0
"""Seconds of audio at each speed: services tolerate a short time above their limit."""
MIN_REACHED: Final = 0.9
"""Share of a speed that must be reached for the speed to count as accepted."""
REPEATS: Final = 5
"""Repetitions of the sample for the drift of word times."""
OPTION_AUDIO_S: Final = 2.0
"""Seconds of audio in a session that tests session options."""
IDLE_WAIT_S: Final = 35.0
"""Seconds without a message after which a service counts as one without an idle limit."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Speech as PCM (16-bit little-endian mono at the session's rate). `speech_s`: end of the speech, in seconds."""

    pcm: bytes
    rate: int
    speech_s: float

    @property
    def length_s(self) -> float:
        return len(self.pcm) / BYTES_PER_SAMPLE / self.rate

    def silence(self, seconds: float) -> bytes:
        """Return silence of the same rate."""
        return bytes(round(seconds * self.rate) * BYTES_PER_SAMPLE)


async def measure_pause(settings: Settings, sample: Sample) -> dict[str, Any]:
    """Send the sample and silence in real time. Measures the pause before a commit, word times and the transport."""
    async with ProbeSession(settings) as session:
        began = time.monotonic()
        await session.send(sample.pcm)
        # The audio is sent in real time, so the time since the start is the position in the audio.
        speech_ended = began + sample.speech_s
        sending = asyncio.create_task(session.send(sample.silence(MAX_PAUSE_S)))
        await session.until(lambda: _last_commit(session) > speech_ended or session.ended, MAX_PAUSE_S)
        # The message with word times may arrive after the plain message.
        await session.until(lambda: _timed(session) or session.ended, 1.5)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        if session.ended and not session.commits():
            raise SessionLost(f"the service ended the session before any text: {session.end_reason}")
        last = _last_commit(session)
        pause_s = round(last - speech_ended, 2) if last > speech_ended else None
        return {
            "transport": session.transport,
            "commit_pause_s": pause_s,
            "word_times": _timed(session) if session.commits() else None,
        }


async def measure_stop(settings: Settings, sample: Sample) -> dict[str, Any]:
    """Send the sample up to the end of its speech, and stop the session at once. Measures whether the service commits
    the last words."""
    async with ProbeSession(settings) as session:
        await session.send(sample.pcm[: round(sample.speech_s * sample.rate) * BYTES_PER_SAMPLE])
        stopped = time.monotonic()
        await session.stop()
        await session.until(lambda: _last_commit(session) > stopped or session.ended, FLUSH_WAIT_S)
        return {"commits_on_stop": _last_commit(session) > stopped}


async def measure_drift(settings: Settings, sample: Sample, pause_s: float) -> dict[str, Any]:
    """Send the sample several times, each time followed by a pause after which the service commits. Measures how word
    times drift."""
    period_s = sample.length_s + pause_s
    async with ProbeSession(settings) as session:
        await session.send((sample.pcm + sample.silence(pause_s)) * REPEATS)
        await session.until(lambda: session.ended, 2.0)
        starts: dict[int, float] = {}
        for _, commit in session.commits():
            times = [word.start for word in commit.words if word.start is not None]
            if times:
                # A service whose times drift by half a period would be useless, so a word belongs to the nearest
                # repetition.
                starts.setdefault(round(times[0] / period_s - 0.25), times[0])
        found = [starts[number] for number in sorted(starts)]
        whole = sorted(starts) == list(range(len(starts)))
        return {"drift_s": drift_of(found, period_s) if whole else None}


def speed_audio_s(sample: Sample) -> float:
    """Return the seconds of audio that `measure_speed` sends at each speed: whole repetitions of the sample."""
    once_s = sample.length_s + 1.0
    return once_s * (1 + int(SPEED_AUDIO_S / once_s))


async def measure_speed(settings: Settings, sample: Sample) -> dict[str, Any]:
    """Send audio faster and faster. Measures the highest speed at which the service ends no session and answers in
    time."""
    best = 1.0
    once = sample.pcm + sample.silence(1.0)
    pcm = once * round(speed_audio_s(sample) / (sample.length_s + 1.0))
    for speed in SPEEDS:
        async with ProbeSession(settings) as session:
            began = time.monotonic()
            whole = await session.send(pcm, speed)
            reached = session.sent_s / max(time.monotonic() - began, 0.001)
            # A service that only queues the audio commits the text much later.
            await session.until(lambda: session.ended or session.commits() != [], 5.0)
            if not whole or session.ended or not session.commits():
                return {"max_speed": best, "refused_speed": speed}
        # If this machine or the network is too slow to send at this speed, it is unknown whether the service accepts
        # the speed.
        if reached < MIN_REACHED * speed:
            return {"max_speed": max(best, round(reached, 1))}
        best = speed
    return {"max_speed": best}


async def measure_sessions(settings: Settings, limit: int) -> dict[str, Any]:
    """Open sessions until the service refuses one, at most `limit` sessions. Then wait until the service closes an idle
    session."""
    async with AsyncExitStack() as stack:
        opened: list[ProbeSession] = []
        refused = False
        while len(opened) < limit and not refused:
            session = ProbeSession(settings)
            try:
                await stack.enter_async_context(session)
            except EndpointBusy:
                refused = True
            else:
                # A service may also end the session, or queue it: then session-started does not arrive in time.
                refused = session.ended or not session.started
                opened += [] if refused else [session]
        found: dict[str, Any] = {"sessions_tested": len(opened)}
        if refused and opened:
            found["max_sessions"] = len(opened)
        if opened:
            last, began = opened[-1], time.monotonic()
            if await last.until(lambda: last.ended, IDLE_WAIT_S):
                found["idle_close_s"] = round(last.ended_at - began, 1)
        return found


async def measure_options(settings: Settings, options: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Start sessions with the options until one is accepted. Returns the result of each option."""
    results = SessionOptionResults(options, masker_of(settings))
    while sent := results.current():
        async with ProbeSession(settings, sent) as session:
            await session.send(bytes(round(OPTION_AUDIO_S * settings.sample_rate) * BYTES_PER_SAMPLE))
            await session.until(lambda: session.ended, 1.0)
            results.confirm(sent, session.config)
            end = _session_end(session)
        if end is None or not results.refuse(sent, end, transcribed=False):
            break
    return {"options": {fact.name: fact.result for fact in results.facts()}}


async def measure_length(settings: Settings, sample: Sample, budget_s: float, speed: float) -> dict[str, Any]:
    """Send speech and pauses until the service ends the session, for at most `budget_s` seconds of audio."""
    once = sample.pcm + sample.silence(2.0)
    async with ProbeSession(settings) as session:
        for _ in range(int(budget_s / (sample.length_s + 2.0))):
            if not await session.send(once, speed):
                break
        # The end may arrive after the last audio.
        ended = await session.until(lambda: session.ended, 2.0)
        limit = {"session_limit_s": round(session.sent_s, 1)} if ended else {}
        return {**limit, "session_tested_s": round(session.sent_s, 1)}


def _session_end(session: ProbeSession) -> SessionEnd | None:
    for _, message in session.events:
        if isinstance(message, ServiceError):
            return SessionEnd(EndReason.ERROR, name=message.name, detail=message.text)
        if isinstance(message, Closed):
            return SessionEnd(EndReason.CLOSED, detail=message.reason, close_code=message.code)
    return None


def _last_commit(session: ProbeSession) -> float:
    return max((at for at, _ in session.commits()), default=float("-inf"))


def _timed(session: ProbeSession) -> bool:
    return any(word.start is not None for _, commit in session.commits() for word in commit.words)
