"""State machine of one session, without I/O.

::

    connecting -> starting -> streaming -> flushing -> stopping -> ended(reason)

The driver (`streaming`) reports events (`connected`, `message`, `sent`, `input_ended`, `disconnected`, `tick`) and
reads the next step: `phase`, `send_at`, `take_commits`, `deadline`. All times are seconds of one monotonic clock. All
positions are samples at the session's rate, from its first sample.

`flow_control` limits how far audio is sent ahead of the service, `tail_flush` waits for the last words, and
`commit_pairing` pairs committed messages that contain the same speech.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from worker.realtime.commit_pairing import Commit, CommitPairer
from worker.realtime.flow_control import FlowControl
from worker.realtime.messages import (
    REASON_STOPPED,
    Closed,
    Committed,
    Lost,
    Message,
    Partial,
    ServiceError,
    SessionStarted,
    UpstreamStarted,
    close_text,
)
from worker.realtime.rate_control import MIN_SPEED, RateControl
from worker.realtime.session_states import EndReason, Phase, SessionEnd
from worker.realtime.tail_flush import TOLERANCE_S, TailFlush
from worker.realtime.text_delay import TextDelay
from worker.recent_items import RecentItems
from worker.settings import Settings

STOP_WAIT_S: Final = 5.0
"""Seconds to wait for session-closed if all text is committed."""

MAX_TEXTS: Final = 64
"""Number of recent texts that do not count as new when they arrive again. A service repeats only recent texts; older
ones are forgotten, because a speaker may say the same words much later."""

SILENT_SERVICE_S: Final = 4.0
"""If text is not committed yet and no message arrives for this many seconds, the service has stalled: a working service
repeats that text about every second."""

HARMLESS_AT_END: Final = frozenset({"commit_throttled", "input_error", "insufficient_audio_activity"})
"""Errors that are ignored after all audio was sent and a commit has arrived."""


class Session:
    """The state of one session. The driver calls its methods; it does no I/O itself."""

    def __init__(self, settings: Settings, speed: RateControl, now: float) -> None:
        self._settings = settings
        self._rate = settings.sample_rate
        self.speed = speed
        self.phase = Phase.CONNECTING
        self.end: SessionEnd | None = None
        self.session_id: str | None = None
        self.model: str | None = None
        self.config: Mapping[str, object] | None = None  # as the service sent it
        self.partial = ""  # partial text as the service last sent it
        self.rotated = False  # ended at a pause so that another session can start
        self.committed_end_s = 0.0  # seconds from the session's start to the end of the last committed word with times
        self._since = now  # start of the current phase
        self._opened = self._streaming_since = now
        self._ended_in = self.phase  # the phase before the end
        self._ended_at = now
        self._commit_on_stop = False
        self._flow = FlowControl(settings, now)
        self._tail = TailFlush(settings)
        self._delay = TextDelay(now)
        self._pairer = CommitPairer(drop_repeats=False)
        self._commits: list[Commit] = []
        self.commits_seen = 0
        self.unpaired: tuple[str, ...] = ()  # texts of commits that still lacked word times when the session broke
        # The service repeats the committed text once as a partial right after the commit.
        self._echoes: RecentItems[str] = RecentItems(4)  # texts that a partial may repeat without new speech
        self._texts: RecentItems[str] = RecentItems(MAX_TEXTS)  # the latest distinct texts, committed or partial

    # -- events ----------------------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """Note that the transport is open and `start-session` is being sent."""
        self._enter(Phase.STARTING, now)

    def message(self, message: Message, now: float) -> None:
        """Process a message of the service."""
        # Messages that arrived before the end may still be in the driver's inbox.
        if self.phase is Phase.ENDED:
            return
        self._flow.message_received(now)
        self._pairer.heard(now)
        match message:
            case SessionStarted():
                if self.phase is Phase.STARTING:
                    self._streaming_since = now
                    self._delay.begin(now)
                    self._enter(Phase.STREAMING, now)
            case UpstreamStarted():
                self._take_config(message)
            case Partial():
                self._take_partial(message, now)
            case Committed():
                self._take_committed(message, now)
            case ServiceError():
                self._take_error(message, now)
            case Closed():
                self._take_closed(message, now)
            case _:
                pass

    def sending(self, now: float) -> None:
        """Note that a frame was passed to the transport. The caller must call `sent` when the transport has accepted
        the frame."""
        self._flow.sending(now)

    def sent(self, samples: int, now: float, *, runs: Sequence[tuple[int, int]] = (), padding: bool = False) -> None:
        """Note that the transport accepted a frame of `samples` samples.

        `runs`: parts of the frame with voice activity, as (start, end) samples. `padding`: the frame is silence after
        the end of the file."""
        self._flow.sent(samples, now, runs=runs, padding=padding)
        if padding:
            self._tail.sent(samples, now, speed=self.speed.current(now), due=self._text_due)
        else:
            if runs:
                self._delay.sound_sent(now)
            self.speed.lag(now, self._flow.voiced_since_text / self._settings.sample_rate)

    def achieved(self, now: float) -> float:
        """Return the mean sending speed since the start of the session, as a factor of real time."""
        return self.sent_samples / self._settings.sample_rate / max(now - self._streaming_since, 0.1)

    def may_rotate(self, now: float) -> bool:
        """Whether the session should end at the next pause, before the service ends it in the middle of a word."""
        max_s = self._settings.session_max_s
        # Some services limit the clock time of a session, and others the length of its audio. So the larger of the two
        # is used.
        age_s = max(now - self._opened, self.sent_samples / self._settings.sample_rate)
        return 0 < max_s <= age_s and not self.pending_text

    def input_ended(self, now: float, *, rotate: bool = False) -> None:
        """Note that the last frame was sent. With `rotate`, it was not the last frame of the file: another session will
        continue after it."""
        if self.phase is Phase.STREAMING:
            self.rotated = rotate
            self._tail.begin(now)
            self._delay.input_ended(now)
            # The self-hosted service commits everything after stop-session, so it needs no silence.
            self._enter(Phase.STOPPING if self._commit_on_stop else Phase.FLUSHING, now)

    def disconnected(self, lost: Lost, now: float) -> None:
        """Note that the connection is lost."""
        if self.phase is Phase.ENDED:
            return
        # After stop-session, some services drop the connection without session-closed. The session is complete if all
        # speech was answered (by a service that does not commit on stop) or a commit reaches the last voiced sample.
        answered = not self._commit_on_stop and not self._flow.voiced_since_message
        complete = self.phase is Phase.STOPPING and (answered or self._tail_committed())
        reason = EndReason.COMPLETED if complete else EndReason.DROPPED
        end = SessionEnd(reason, detail=lost.reason, close_code=lost.close_code, close_reason=lost.close_reason)
        self._finish(end, now)

    def tick(self, now: float) -> None:
        """Release commits that have waited long enough, and end the session after a timeout."""
        self._deliver(self._pairer.release(now))
        if self.phase in (Phase.CONNECTING, Phase.ENDED):
            return
        start_s, stall_s = self._settings.start_timeout_s, self._settings.stall_timeout_s
        if self.phase is Phase.STARTING and now - self._since >= start_s:
            self._finish(SessionEnd(EndReason.STALLED, detail=f"no session-started within {start_s:g} s"), now)
        # A peer that reads nothing causes no error and no disconnect event, only an `emit` that never ends.
        elif self._flow.stuck_s(now) >= stall_s:
            self._finish(SessionEnd(EndReason.STALLED, detail=f"the service accepted no audio for {stall_s:g} s"), now)
        elif self._expects_answer() and now - self._answer_due_since >= stall_s:
            self._finish(SessionEnd(EndReason.STALLED, detail=f"no answer to speech for {stall_s:g} s"), now)
        elif self.phase is Phase.FLUSHING and self._flushed(now):
            # A stop would discard the partial text, so a service that sends nothing is treated as stalled.
            if self.pending_text and now - self._flow.last_message >= SILENT_SERVICE_S:
                detail = "a text was not committed, but no further message arrived"
                self._finish(SessionEnd(EndReason.STALLED, detail=detail), now)
            else:
                self._enter(Phase.STOPPING, now)
        elif self._stop_unanswered(now):
            end = SessionEnd(EndReason.COMPLETED, detail="the service did not confirm the close")
            if self._flow.voiced_since_message:
                end = SessionEnd(EndReason.STALLED, detail="no answer to the last words or to stop-session")
            self._finish(end, now)

    # -- decisions -------------------------------------------------------------------------------------------------

    def take_commits(self) -> list[Commit]:
        """Return the commits released since the last call, in order."""
        commits, self._commits = self._commits, []
        return commits

    def send_at(self, samples: int, now: float) -> float:
        """Return the clock time from which flow control allows a frame of `samples` samples to be sent."""
        return self._flow.send_at(samples, now, paced=self.speed.current(now) <= MIN_SPEED)

    def padding_at(self, now: float) -> float:
        """Return the clock time from which the next frame of silence may be sent, in the phase `flushing`."""
        return self._tail.padding_at(now, speed=self.speed.current(now))

    def deadline(self, now: float) -> float:
        """Return the clock time at which the next `tick` may change the state, at most one second after `now`."""
        # At least once per second, because stalls are detected by comparing times; no event reports a stall.
        times = [now + 1.0]
        if self.phase is Phase.STARTING:
            times.append(self._since + self._settings.start_timeout_s)
        if self.phase is Phase.FLUSHING and (at := self._tail.minimum_at(speed=self.speed.current(now))) > now:
            times.append(at)
        if self._pairer.deadline is not None:
            times.append(self._pairer.deadline)
        return max(now, min(times))

    @property
    def sent_samples(self) -> int:
        """Samples of the file that the transport has accepted."""
        return self._flow.sent_samples

    @property
    def answered_samples(self) -> int:
        """Samples that were sent before the last message of the service."""
        return self._flow.answered_samples

    @property
    def padding_samples(self) -> int:
        """Samples of silence sent after the file's samples."""
        return self._tail.padding_samples

    @property
    def pending_text(self) -> str:
        """Partial text that is in no commit yet."""
        return "" if self.partial.strip() in self._echoes else self.partial.strip()

    @property
    def uncommitted_text(self) -> str:
        """Text of an ended session that `take_commits` did not return in any commit."""
        return " ".join(text for text in (*self.unpaired, self.pending_text) if text)

    @property
    def all_committed(self) -> bool:
        """Whether all audio was sent and all of its text was committed before the session ended. The reason for the end
        does not matter."""
        flushed = self._ended_in in (Phase.FLUSHING, Phase.STOPPING)
        reached = self._tail_committed() and not self._flow.voiced_since_message
        # The text of the last sound may still be missing if the session ended before that text was due.
        settled = self._tail.settled and self._ended_at >= self._text_due
        return flushed and not self.uncommitted_text and (settled or reached)

    # -- internals -------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self._since = phase, now

    def _finish(self, end: SessionEnd, now: float) -> None:
        settled = self._pairer.release(math.inf, everything=True)
        # After a broken session, the first commit without word times and all later ones are not delivered: the next
        # session streams their audio again, so their text arrives again, with word times.
        if end.reason is not EndReason.COMPLETED:
            count = next((i for i, commit in enumerate(settled) if not commit.words), len(settled))
            settled, again = settled[:count], settled[count:]
            self.unpaired = tuple(commit.text for commit in again)
        self._deliver(settled)
        self._ended_in, self._ended_at = self.phase, now
        self.phase, self.end = Phase.ENDED, end

    def _deliver(self, commits: list[Commit]) -> None:
        for commit in commits:
            self._commits.append(commit)
            self.commits_seen += 1
            # Word times later than the end of the sent audio use an unknown unit or origin, so they cannot show that
            # the last words have arrived.
            limit_s = (commit.sent + self.padding_samples) / self._rate + TOLERANCE_S
            ends = [w.end for w in commit.words if w.end is not None and w.end <= limit_s]
            self.committed_end_s = max([self.committed_end_s, *ends])
            speed = self.speed.current(commit.arrived)
            self._delay.committed(commit, speed=speed, rate=self._rate, limit_s=limit_s)

    def _take_config(self, message: UpstreamStarted) -> None:
        self.session_id = message.session_id or self.session_id
        self.model = message.model
        self.config = message.config
        if message.sends_timestamps is not None:
            self._pairer.announced(timestamps=message.sends_timestamps)
        self._commit_on_stop = message.commits_on_stop
        if message.commit_pause_s is not None:
            self._tail.set_commit_pause(message.commit_pause_s)

    def _take_partial(self, message: Partial, now: float) -> None:
        self._pairer.note_partial(message)
        self._take_text(message.text, now)
        self.partial = message.text

    def _take_committed(self, message: Committed, now: float) -> None:
        self._take_text(message.text, now)
        self._tail.committed()
        # The commit contains the last partial text. If a later partial repeats one of the two texts, it is an echo and
        # no new speech.
        for text in (self.partial.strip(), message.text.strip()):
            if text:
                # The newest entry again, because the oldest ones are dropped: under load one partial may precede
                # many commits, and would otherwise become text of its own.
                if text in self._echoes:
                    self._echoes.remove(text)
                self._echoes.append(text)
        self._deliver(self._pairer.feed(message, now, self.sent_samples))

    def _take_text(self, text: str, now: float) -> None:
        """Note a text if it is new in this session. Only new text shows that the service transcribes: a service that
        stopped transcribing may still repeat its last text every second, repeat commits, or send empty commits."""
        text = text.strip()
        self._delay.answered(now, text=bool(text))
        if text and text not in self._texts:
            self._flow.new_text()
            self._tail.new_text(now)
            self._texts.append(text)

    def _take_error(self, message: ServiceError, now: float) -> None:
        if self.phase in (Phase.FLUSHING, Phase.STOPPING) and self.commits_seen and message.name in HARMLESS_AT_END:
            return
        end = SessionEnd(EndReason.ERROR, name=message.name, detail=message.text, retry_after_s=message.retry_after_s)
        self._finish(end, now)

    def _take_closed(self, message: Closed, now: float) -> None:
        detail = close_text(message.code, message.reason)
        orderly = self.phase is Phase.STOPPING
        if self._commit_on_stop:
            # The close code cannot decide this: 1000 may have been sent before the stop arrived, and some services
            # answer stop-session with 1005 or 1006.
            orderly = orderly and (message.reason == REASON_STOPPED or self._tail_committed())
        reason = EndReason.COMPLETED if orderly else EndReason.CLOSED
        self._finish(SessionEnd(reason, detail=detail, close_code=message.code, close_reason=message.reason), now)

    def _expects_answer(self) -> bool:
        if self.phase is Phase.STREAMING:
            return self._flow.unanswered
        return self.phase is Phase.STOPPING and self._commit_on_stop

    @property
    def _answer_due_since(self) -> float:
        return max(self._flow.last_message, self._since)

    def _stop_unanswered(self, now: float) -> bool:
        waits = self.phase is Phase.STOPPING and not self._commit_on_stop
        return waits and now - self._answer_due_since >= STOP_WAIT_S

    def _tail_committed(self) -> bool:
        voiced_end_s = self._flow.voiced_end / self._settings.sample_rate
        return not self.pending_text and self.committed_end_s >= voiced_end_s - TOLERANCE_S

    def _flushed(self, now: float) -> bool:
        return self._tail.is_over(
            now,
            pending=bool(self.pending_text) or self._pairer.deadline is not None,
            covered=self.commits_seen > 0 and self._tail_committed(),
            unanswered=self._flow.voiced_since_message > 0,
            due=self._text_due,
        )

    @property
    def _text_due(self) -> float:
        return self._delay.due(self._flow.voiced_end / self._rate, self._tail.pause_s)
