"""Reports the progress of a run to its listener at limited intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from worker.job_progress import Progress
from worker.pipeline.job import RunListener
from worker.pipeline.planning_thread import check_length
from worker.realtime.rate_control import RateControl
from worker.settings import Settings
from worker.transcript.model import Segment

PROGRESS_EVERY_S: Final = 0.25
"""Minimum seconds between two reports, except at the start and after commits."""


class SectionPositions(NamedTuple):
    """How far a section is sent and committed, in samples of the file.

    A subset of `SectionFacts` for progress reports, which are frequent: it takes 0.7 µs instead of 4."""

    start: int
    end: int
    sent: int
    committed: int


class TrackedSection(Protocol):
    """The attributes of a section that progress reports need."""

    @property
    def sent_s(self) -> float: ...

    @property
    def failures(self) -> list[str]: ...

    def positions(self) -> SectionPositions: ...


class RunProgress:
    """Reports at once when a run starts and after each commit, otherwise at most every PROGRESS_EVERY_S seconds.

    Every report also checks that the sent audio is not longer than STT_SOURCE_MAX_HOURS, because the header of a file
    may state a shorter length than the file has. So all methods can raise SourceRefused."""

    def __init__(self, listener: RunListener, settings: Settings, speed: RateControl, shown: str) -> None:
        """`shown`: the name of the source in error messages."""
        self._listener = listener
        self._settings = settings
        self._speed = speed
        self._shown = shown
        self._loop = asyncio.get_running_loop()
        self._sections: Sequence[TrackedSection] = ()
        self._duration_s = 0.0
        self._channels = 1
        self._next = 0.0
        self._before_s = 0.0  # position at the start of this attempt

    @property
    def sent_s(self) -> float:
        """Seconds of the file that this attempt has sent, as the mean of its channels. Skipped silence and audio of
        earlier attempts are not included."""
        return max(0.0, self._snapshot("").sent_s - self._before_s) if self._sections else 0.0

    def start(self, sections: Sequence[TrackedSection], duration_s: float, channels: int) -> None:
        """Report the start of a run.

        `sections`: the sections that this attempt streams. `channels`: number of channels that are streamed
        separately."""
        self._sections, self._duration_s, self._channels = sections, duration_s, channels
        self._before_s = self._snapshot("").committed_s
        self._report("")

    def committed(self, segment: Segment) -> None:
        """Report a commit at once. Call it when `segment` is durable."""
        self._listener.committed(segment)
        self._report("")

    def update(self, partial: str) -> None:
        """Report the current progress, unless the last report was less than PROGRESS_EVERY_S ago.

        `partial`: text of one section that the service has not committed yet."""
        if self._loop.time() >= self._next:
            self._report(partial)

    def _report(self, partial: str) -> None:
        self._next = self._loop.time() + PROGRESS_EVERY_S
        check_length(max((s.sent_s for s in self._sections), default=0.0), self._shown, self._settings)
        self._listener.progress(self._snapshot(partial))

    def _snapshot(self, partial: str) -> Progress:
        rate, speed = self._settings.sample_rate * self._channels, self._speed.current(self._loop.time())
        return progress_of(self._sections, self._duration_s, rate, speed, partial)


def progress_of(
    sections: Sequence[TrackedSection], duration_s: float, rate: int, speed: float, partial: str
) -> Progress:
    """Return the progress of a run over `duration_s` seconds of audio.

    `sections`: the sections that this attempt streams. All other audio is treated as done: either an earlier attempt
    finished it, or it is skipped. `rate`: samples per second, multiplied by the number of separately streamed channels,
    so that the progress is the mean of the channels."""
    positions = [section.positions() for section in sections]
    open_samples = sum([at.end - at.start for at in positions])
    done_s = max(0.0, duration_s - open_samples / rate)
    failures = [text for section in sections for text in section.failures[-1:]]
    return Progress(
        duration_s=duration_s,
        sent_s=done_s + sum([at.sent - at.start for at in positions]) / rate,
        committed_s=done_s + sum([at.committed - at.start for at in positions]) / rate,
        partial=partial,
        speed=speed,
        trouble=failures[-1] if failures else "",
    )
