"""One session as a state machine without I/O.

::

    connecting -> starting -> streaming -> flushing -> stopping -> ended(why)

The driver (`streaming`) tells it what happened (`connected`, `message`, `sent`, `input_ended`, `disconnected`, `tick`)
and asks what to do: `phase`, `send_at`, `take_commits`, `deadline`. Every time is seconds of one monotonic clock, every
position is samples at the wire rate from the first sample of the session.

`flow_control` decides how far it may run ahead of the service, `tail_flush` how the last words are committed, and
`commit_pairing` which committed messages are the same speech.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from worker.realtime.commit_pairing import Commit, CommitPairer
from worker.realtime.flow_control import FlowControl
from worker.realtime.messages import (
    REASON_STOPPED,
    Closed,
    Committed,
    Message,
    Partial,
    ServiceError,
    SessionStarted,
    UpstreamStarted,
)
from worker.realtime.rate_control import MIN_SPEED, RateControl
from worker.realtime.session_states import EndReason, Phase, SessionEnd
from worker.realtime.tail_flush import TOLERANCE_S, TailFlush
from worker.settings import Settings

STOP_WAIT_S: Final = 5.0
"""Seconds to wait for session-closed when nothing more than the close is expected."""

MAX_TEXTS: Final = 64
"""Number of remembered texts. A service repeats recent ones; a person may say the same much later."""

SILENT_SERVICE_S: Final = 4.0
"""A service with text in progress repeats it about every second; one that says nothing for so long is gone."""

HARMLESS_AT_END: Final = frozenset({"commit_throttled", "input_error", "insufficient_audio_activity"})
"""Errors that mean nothing once all audio is sent and a commit was seen."""


class Session:
    """The state of one session. See the module's text."""

    def __init__(self, settings: Settings, speed: RateControl, now: float) -> None:
        self._settings = settings
        self._rate = settings.sample_rate
        self.speed = speed
        self.phase = Phase.CONNECTING
        self.end: SessionEnd | None = None
        self.session_id: str | None = None
        self.model: str | None = None
        self.partial = ""  # text in progress as the service last sent it
        self.rotated = False  # it was ended at a pause to make room for the next one
        self.committed_end_s = 0.0  # end of the last timed word, session seconds
        self._since = now  # when the phase began
        self._opened = self._streaming_since = now
        self._commit_on_stop = False
        self._flow = FlowControl(settings, now)
        self._tail = TailFlush(settings)
        self._pairer = CommitPairer(drop_repeats=False)
        self._commits: list[Commit] = []
        self.commits_seen = 0
        self.unpaired: tuple[str, ...] = ()  # text of commits whose word times were still to come when it broke
        self._echoes: deque[str] = deque(maxlen=4)  # texts a partial may repeat without meaning new speech
        self._texts: deque[str] = deque(maxlen=MAX_TEXTS)  # the latest different texts, committed or in progress

    # -- what happened ---------------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """The transport is open and `start-session` is on its way."""
        self._enter(Phase.STARTING, now)

    def message(self, message: Message, now: float) -> None:
        """A message of the service arrived."""
        if self.phase is Phase.ENDED:
            return
        self._flow.alive(now)
        if self.phase is Phase.FLUSHING:
            self._tail.answered(now)
        match message:
            case SessionStarted():
                if self.phase is Phase.STARTING:
                    self._streaming_since = now
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
        self._flow.sending(now)

    def sent(self, samples: int, now: float, *, runs: Sequence[tuple[int, int]] = (), padding: bool = False) -> None:
        """The transport took a frame of `samples`; `runs` is what is voiced in it, in samples from its first."""
        self._flow.sent(samples, now, runs=runs, padding=padding)
        if padding:
            self._tail.padding_samples += samples
        else:
            self.speed.lag(now, self._flow.voiced_since_text / self._settings.sample_rate)

    def achieved(self, now: float) -> float:
        """Factor of real time really sent since the session started."""
        return self.sent_samples / self._settings.sample_rate / max(now - self._streaming_since, 0.1)

    def may_rotate(self, now: float) -> bool:
        """Whether the session is old enough to end at the next pause, before the service ends it in a word."""
        most_s = self._settings.session_max_s
        age_s = max(now - self._opened, self.sent_samples / self._settings.sample_rate)
        return 0 < most_s <= age_s and not self.pending_text

    def input_ended(self, now: float, *, rotate: bool = False) -> None:
        """The last frame was sent: of the file, or with `rotate` of this session."""
        if self.phase is Phase.STREAMING:
            self.rotated = rotate
            self._tail.begin(now)
            self._enter(Phase.STOPPING if self._commit_on_stop else Phase.FLUSHING, now)

    def disconnected(self, detail: str, now: float) -> None:
        """The transport is gone."""
        if self.phase is Phase.ENDED:
            return
        answered = not self._commit_on_stop and not self._flow.voiced_since_life
        if self.phase is Phase.STOPPING and (answered or self._tail_committed()):
            self._finish(SessionEnd(EndReason.COMPLETED, detail=detail))
        else:
            self._finish(SessionEnd(EndReason.DROPPED, detail=detail))

    def tick(self, now: float) -> None:
        """Time passed: settle what waited, and end what took too long."""
        self._deliver(self._pairer.release(now))
        if self.phase in (Phase.CONNECTING, Phase.ENDED):
            return
        start_s, stall_s = self._settings.start_timeout_s, self._settings.stall_timeout_s
        if self.phase is Phase.STARTING and now - self._since >= start_s:
            self._finish(SessionEnd(EndReason.STALLED, detail=f"no session-started within {start_s:g} s"))
        elif self._flow.stuck_s(now) >= stall_s:
            self._finish(SessionEnd(EndReason.STALLED, detail=f"the service took no audio for {stall_s:g} s"))
        elif self._expects_answer() and now - self._answer_due_since >= stall_s:
            self._finish(SessionEnd(EndReason.STALLED, detail=f"no answer to speech for {stall_s:g} s"))
        elif self.phase is Phase.FLUSHING and self._flushed(now):
            if self.pending_text and now - self._flow.last_life >= SILENT_SERVICE_S:
                self._finish(SessionEnd(EndReason.STALLED, detail="text was in progress, and nothing came any more"))
            else:
                self._enter(Phase.STOPPING, now)
        elif self._stop_unanswered(now):
            if self._flow.voiced_since_life:
                self._finish(SessionEnd(EndReason.STALLED, detail="no answer to the last words, nor to the stop"))
            else:
                self._finish(SessionEnd(EndReason.COMPLETED, detail="the service did not confirm the close"))

    # -- what to do ------------------------------------------------------------------------------------------------

    def take_commits(self) -> list[Commit]:
        """Commits settled since the last call, in order."""
        commits, self._commits = self._commits, []
        return commits

    def send_at(self, samples: int, now: float) -> float:
        """Clock time from which the next frame of `samples` may leave as far as the service's answers allow."""
        return self._flow.send_at(samples, now, paced=self.speed.current(now) <= MIN_SPEED)

    def padding_at(self, now: float) -> float:
        """In `flushing`: clock time from which the next frame of silence may leave."""
        return self._tail.padding_at(now, speed=self.speed.current(now))

    def deadline(self, now: float) -> float:
        """Clock time of the next `tick` that may matter."""
        times = [now + 1.0]
        if self.phase is Phase.STARTING:
            times.append(self._since + self._settings.start_timeout_s)
        if self._pairer.deadline is not None:
            times.append(self._pairer.deadline)
        return max(now, min(times))

    @property
    def sent_samples(self) -> int:
        """Samples of the file the transport took."""
        return self._flow.sent_samples

    @property
    def answered_samples(self) -> int:
        """Samples that had been sent when the service last gave a sign of life."""
        return self._flow.answered_samples

    @property
    def padding_samples(self) -> int:
        """Samples of silence sent after them."""
        return self._tail.padding_samples

    @property
    def pending_text(self) -> str:
        """Text in progress that no commit covered yet."""
        return "" if self.partial.strip() in self._echoes else self.partial.strip()

    @property
    def left_text(self) -> str:
        """All text of an ended session that is in no commit."""
        return " ".join(text for text in (*self.unpaired, self.pending_text) if text)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self._since = phase, now

    def _finish(self, end: SessionEnd) -> None:
        settled = self._pairer.release(math.inf, everything=True)
        if end.why is not EndReason.COMPLETED:  # the next session hears them again, and then with their word times
            count = next((i for i, commit in enumerate(settled) if not commit.words), len(settled))
            settled, again = settled[:count], settled[count:]
            self.unpaired = tuple(commit.text for commit in again)
        self._deliver(settled)
        self.phase, self.end = Phase.ENDED, end

    def _deliver(self, commits: list[Commit]) -> None:
        for commit in commits:
            self._commits.append(commit)
            self.commits_seen += 1
            # Times beyond the audio are in another form: they do not show that the last words are committed.
            limit_s = (commit.sent + self.padding_samples) / self._rate + TOLERANCE_S
            ends = [w.end for w in commit.words if w.end is not None and w.end <= limit_s]
            self.committed_end_s = max([self.committed_end_s, *ends])

    def _take_config(self, message: UpstreamStarted) -> None:
        self.session_id = message.session_id or self.session_id
        self.model = message.model
        if message.sends_timestamps is not None:
            self._pairer.announced(timestamps=message.sends_timestamps)
        self._commit_on_stop = message.commits_on_stop
        if message.commit_pause_s is not None:
            self._tail.commits_after(message.commit_pause_s)

    def _take_partial(self, message: Partial) -> None:
        self._pairer.heard(message)
        self._take_text(message.text)
        self.partial = message.text

    def _take_committed(self, message: Committed, now: float) -> None:
        self._take_text(message.text)
        self._tail.committed()
        # Whatever was in progress before this commit is settled by it; later repeats of it are echoes.
        for text in (self.partial.strip(), message.text.strip()):
            if text and text not in self._echoes:
                self._echoes.append(text)
        self._deliver(self._pairer.feed(message, now, self.sent_samples))

    def _take_text(self, text: str) -> None:
        """Only text that is new in this session shows that the service transcribes: a service that stopped transcribing
        may still repeat its last text every second, echo commits, or send empty commits."""
        text = text.strip()
        if text and text not in self._texts:
            self._flow.spoke()
            self._texts.append(text)

    def _take_error(self, message: ServiceError) -> None:
        if self.phase in (Phase.FLUSHING, Phase.STOPPING) and self.commits_seen and message.name in HARMLESS_AT_END:
            return
        self._finish(SessionEnd(EndReason.ERROR, name=message.name, detail=message.text))

    def _take_closed(self, message: Closed) -> None:
        detail = f"closed with {message.code}" + (f": {message.reason}" if message.reason else "")
        orderly = self.phase is Phase.STOPPING
        if self._commit_on_stop:
            # The code proves nothing: some services answer the stop with 1005 or 1006.
            orderly = orderly and (message.reason == REASON_STOPPED or self._tail_committed())
        why = EndReason.COMPLETED if orderly else EndReason.CLOSED
        self._finish(SessionEnd(why, detail=detail, close_code=message.code))

    def _expects_answer(self) -> bool:
        if self.phase is Phase.STREAMING:
            return self._flow.unanswered
        return self.phase is Phase.STOPPING and self._commit_on_stop

    @property
    def _answer_due_since(self) -> float:
        return max(self._flow.last_life, self._since)

    def _stop_unanswered(self, now: float) -> bool:
        waits = self.phase is Phase.STOPPING and not self._commit_on_stop
        return waits and now - self._answer_due_since >= STOP_WAIT_S

    def _tail_committed(self) -> bool:
        voiced_end_s = self._flow.voiced_end / self._settings.sample_rate
        return not self.pending_text and self.committed_end_s >= voiced_end_s - TOLERANCE_S

    def _flushed(self, now: float) -> bool:
        return self._tail.over(
            now,
            pending=bool(self.pending_text) or self._pairer.deadline is not None,
            covered=self.commits_seen > 0 and self._tail_committed(),
            unanswered=self._flow.voiced_since_life > 0,
        )
