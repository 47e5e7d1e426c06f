"""One session as a state machine without I/O.

::

    connecting -> starting -> streaming -> flushing -> stopping -> ended(why)

The driver (`client`) tells it what happened (`connected`, `message`, `sent`, `input_ended`, `disconnected`, `tick`) and
asks what to do: `phase`, `send_at`, `take_commits`, `deadline`. Every time is seconds of one monotonic clock, every
position is samples at the wire rate from the first sample of the session.

What it decides:

- *Flow*: above real time, at most `window_s` seconds of audio go ahead of the service's last sign of life. Silence does
  not count, because the service has nothing to say about it.
- *Tail*: the service forgets what it has not committed when it is stopped, so silence is streamed until the last
  speech is committed, no longer than `flush_max_s`. A service that says `commit_on_stop` needs none.
- *Stall*: no sign of life within `stall_timeout_s` while speech is waiting for an answer ends the session.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.realtime.messages import (
    FIELD_COMMIT_ON_STOP,
    Closed,
    Committed,
    Message,
    Partial,
    ServiceError,
    SessionStarted,
    UpstreamStarted,
)
from worker.realtime.pairing import Commit, Pairer
from worker.settings import Settings

TAIL_TOLERANCE_S: Final = 0.7
"""A commit whose last word ends this close to the last voiced sample covers it: word ends are that inexact."""
SETTLE_S: Final = 2.5
"""Seconds of silence streamed without an answer after which nothing more is expected, when no text is pending."""
KEEP_ALIVE_S: Final = 5.0
"""A session held back by its window still sends a frame this often: services close idle sessions after 15 s."""
STOP_WAIT_S: Final = 5.0
"""Seconds to wait for session-closed when nothing more than the close is expected."""
COMMIT_PAUSE_MARGIN_S: Final = 0.5
"""Silence beyond the pause the service says it commits after."""

HARMLESS_AT_END: Final = frozenset({"commit_throttled", "input_error", "insufficient_audio_activity"})
"""Errors that mean nothing once all audio is sent and a commit was seen."""


class Phase(StrEnum):
    CONNECTING = "connecting"
    STARTING = "starting"
    STREAMING = "streaming"
    FLUSHING = "flushing"
    STOPPING = "stopping"
    ENDED = "ended"


class Why(StrEnum):
    """How a session ended."""

    COMPLETED = "completed"  # all audio sent and the tail resolved
    ERROR = "error"  # the service sent an error; `name` holds its class
    CLOSED = "closed"  # the service closed the session before that
    DROPPED = "dropped"  # the connection broke
    STALLED = "stalled"  # no sign of life


@dataclass(frozen=True, slots=True)
class End:
    """The end of a session. `name`: error class of the service, or ""; `detail`: text for a person."""

    why: Why
    name: str = ""
    detail: str = ""
    close_code: int | None = None


class Session:
    """The state of one session. See the module's text."""

    def __init__(self, settings: Settings, speed: float, now: float) -> None:
        self._settings = settings
        self._rate = settings.sample_rate
        self.speed = speed  # factor of real time, inf for no limit
        self._paced = speed <= 1.0
        self.phase = Phase.CONNECTING
        self.end: End | None = None
        self.session_id: str | None = None
        self.model: str | None = None
        self.partial = ""  # text in progress as the service last sent it
        self.sent_samples = 0  # audio of the file
        self.padding_samples = 0  # silence after it
        self.committed_end_s = 0.0  # end of the last timed word, session seconds
        self._since = now  # when the phase began
        self._last_life = now
        self._last_sent = now
        self._sending_since: float | None = None
        self._voiced_since_life = 0
        self._voiced_end = 0  # end of the last voiced sample
        self._heard: int | None = None  # samples the service says it has worked through
        self._answers_after_input = 0
        self._first_answer_after_input = now
        self._commit_on_stop = False
        self._commit_pause_s = 1.5  # the documented default of the service
        self._pairer = Pairer()
        self._commits: list[Commit] = []
        self._commits_seen = 0
        self._echoes: deque[str] = deque(maxlen=4)  # texts a partial may repeat without meaning new speech

    # -- what happened ---------------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """The transport is open and `start-session` is on its way."""
        self._enter(Phase.STARTING, now)

    def message(self, message: Message, now: float) -> None:
        """A message of the service arrived."""
        if self.phase is Phase.ENDED:
            return
        self._alive(now)
        match message:
            case SessionStarted():
                if self.phase is Phase.STARTING:
                    self._enter(Phase.STREAMING, now)
            case UpstreamStarted():
                self._take_config(message)
            case Partial():
                self._take_partial(message)
            case Committed():
                self._take_committed(message, now)
            case ServiceError():
                self._take_error(message)
            case Closed():
                self._take_closed(message)
            case _:
                pass

    def sending(self, now: float) -> None:
        """A frame was handed to the transport; `sent` follows when the transport took it."""
        self._sending_since = now

    def sent(self, samples: int, now: float, *, voiced: bool, padding: bool = False) -> None:
        """The transport took a frame of `samples`."""
        self._sending_since = None
        self._last_sent = now
        if padding:
            self.padding_samples += samples
            return
        self.sent_samples += samples
        if voiced:
            self._voiced_since_life += samples
            self._voiced_end = self.sent_samples

    def input_ended(self, now: float) -> None:
        """The last frame of the file was sent."""
        if self.phase is Phase.STREAMING:
            self._answers_after_input = 0
            self._enter(Phase.STOPPING if self._commit_on_stop else Phase.FLUSHING, now)

    def disconnected(self, detail: str, now: float) -> None:
        """The transport is gone."""
        if self.phase is Phase.ENDED:
            return
        if self.phase is Phase.STOPPING and (not self._commit_on_stop or self._tail_committed()):
            self._finish(End(Why.COMPLETED, detail=detail))
        else:
            self._finish(End(Why.DROPPED, detail=detail))

    def tick(self, now: float) -> None:
        """Time passed: settle what waited, and end what took too long."""
        self._deliver(self._pairer.release(now))
        if self.phase in (Phase.CONNECTING, Phase.ENDED):
            return
        s = self._settings
        if self.phase is Phase.STARTING and now - self._since >= s.start_timeout_s:
            self._finish(End(Why.STALLED, detail=f"no session-started within {s.start_timeout_s:g} s"))
        elif self._sending_since is not None and now - self._sending_since >= s.stall_timeout_s:
            self._finish(End(Why.STALLED, detail=f"the service took no audio for {s.stall_timeout_s:g} s"))
        elif self._expects_answer() and now - self._last_life >= s.stall_timeout_s:
            self._finish(End(Why.STALLED, detail=f"no answer to speech for {s.stall_timeout_s:g} s"))
        elif self.phase is Phase.FLUSHING and self._flushed(now):
            self._enter(Phase.STOPPING, now)
        elif self._stop_unanswered(now):
            self._finish(End(Why.COMPLETED, detail="the service did not confirm the close"))

    # -- what to do ------------------------------------------------------------------------------------------------

    def take_commits(self) -> list[Commit]:
        """Commits settled since the last call, in order."""
        commits, self._commits = self._commits, []
        return commits

    def send_at(self, samples: int, now: float) -> float:
        """Clock time from which the next frame of `samples` may leave as far as the service's answers allow; inf: not
        before the next message."""
        if self._paced:
            return now
        window = self._settings.window_s * self._rate
        if self._ahead() + samples <= window:
            return now
        # Never slower than real time would be, never idle: then a silent service is merely streamed at 1x.
        real_time = self._last_life + (self._ahead() + samples) / self._rate
        return max(now, min(real_time, self._last_sent + KEEP_ALIVE_S))

    def padding_at(self, now: float) -> float:
        """In `flushing`: clock time from which the next frame of silence may leave."""
        if self.padding_samples < self._flush_min_samples() and not self._paced:
            return now
        return max(now, self._since + self.padding_samples / self._rate)

    def deadline(self, now: float) -> float:
        """Clock time of the next `tick` that may matter."""
        s = self._settings
        times = [now + 1.0]
        if self.phase is Phase.STARTING:
            times.append(self._since + s.start_timeout_s)
        if self._pairer.deadline is not None:
            times.append(self._pairer.deadline)
        return max(now, min(times))

    @property
    def pending_text(self) -> str:
        """Text in progress that no commit covered yet."""
        return "" if self.partial.strip() in self._echoes else self.partial.strip()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self._since = phase, now
        self._last_life = max(self._last_life, now)

    def _finish(self, end: End) -> None:
        self._deliver(self._pairer.release(math.inf, everything=True))
        self.phase, self.end = Phase.ENDED, end

    def _alive(self, now: float) -> None:
        self._last_life = now
        self._voiced_since_life = 0
        if self.phase is Phase.FLUSHING:
            if not self._answers_after_input:
                self._first_answer_after_input = now
            self._answers_after_input += 1

    def _deliver(self, commits: list[Commit]) -> None:
        for commit in commits:
            self._commits.append(commit)
            self._commits_seen += 1
            ends = [w.end for w in commit.words if w.end is not None]
            self.committed_end_s = max([self.committed_end_s, *ends])

    def _take_config(self, message: UpstreamStarted) -> None:
        self.session_id = message.session_id or self.session_id
        model = message.config.get("model_id")
        self.model = model if isinstance(model, str) else None
        self._commit_on_stop = message.config.get(FIELD_COMMIT_ON_STOP) is True
        pause = message.config.get("vad_silence_threshold_secs")
        if isinstance(pause, int | float) and 0 < pause <= 60:
            self._commit_pause_s = float(pause)

    def _take_partial(self, message: Partial) -> None:
        self._pairer.heard(message)
        self.partial = message.text
        if message.heard_s is not None:
            self._heard = max(self._heard or 0, int(message.heard_s * self._rate))

    def _take_committed(self, message: Committed, now: float) -> None:
        # Whatever was in progress before this commit is settled by it; later repeats of it are echoes.
        for text in (self.partial.strip(), message.text.strip()):
            if text and text not in self._echoes:
                self._echoes.append(text)
        self._deliver(self._pairer.feed(message, now, self.sent_samples))

    def _take_error(self, message: ServiceError) -> None:
        if self.phase in (Phase.FLUSHING, Phase.STOPPING) and self._commits_seen and message.name in HARMLESS_AT_END:
            return
        self._finish(End(Why.ERROR, name=message.name, detail=message.text))

    def _take_closed(self, message: Closed) -> None:
        detail = f"closed with {message.code}" + (f": {message.reason}" if message.reason else "")
        orderly = message.code in (1000, None) or not self._commit_on_stop
        why = Why.COMPLETED if self.phase is Phase.STOPPING and orderly else Why.CLOSED
        self._finish(End(why, detail=detail, close_code=message.code))

    def _ahead(self) -> int:
        """Samples sent that the service has shown no sign of."""
        if self._heard is not None:
            return max(0, self.sent_samples - self._heard)
        return self._voiced_since_life

    def _expects_answer(self) -> bool:
        if self.phase is Phase.STREAMING:
            return self._voiced_since_life > 0 or self._sending_since is not None
        return self.phase is Phase.STOPPING and self._commit_on_stop

    def _stop_unanswered(self, now: float) -> bool:
        waits = self.phase is Phase.STOPPING and not self._commit_on_stop
        return waits and now - max(self._last_life, self._since) >= STOP_WAIT_S

    def _flush_min_samples(self) -> int:
        least_s = max(self._settings.flush_min_s, self._commit_pause_s + COMMIT_PAUSE_MARGIN_S)
        return int(least_s * self._rate)

    def _tail_committed(self) -> bool:
        voiced_end_s = self._voiced_end / self._rate
        return not self.pending_text and self.committed_end_s >= voiced_end_s - TAIL_TOLERANCE_S

    def _flushed(self, now: float) -> bool:
        """Enough silence was streamed: the tail is committed, or it never will be."""
        padding_s = self.padding_samples / self._rate
        if padding_s >= self._settings.flush_max_s and now - self._since >= min(SETTLE_S, self._settings.flush_max_s):
            return True
        if self.padding_samples < self._flush_min_samples() or self.pending_text or self._pairer.deadline is not None:
            return False
        if self._commits_seen and self._tail_committed():
            return True
        # The service went on talking after the last speech and has nothing new to say.
        if self._answers_after_input >= 2 and now - self._first_answer_after_input >= SETTLE_S:
            return True
        # It says nothing at all. Where speech was heard since the last commit, only the full flush will do.
        unheard = self._voiced_since_life > 0
        return not unheard and now - max(self._since, self._last_life) >= SETTLE_S
