"""Streams frames through one session: connects the state machine (`session`), the pacer and the client.

Two tasks share the state machine on one event loop. The listener processes messages, calls `tick` and delivers commits;
the sender sends frames. The sender is cancelled when the session ends, so a peer that reads nothing cannot block it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pybase64
from pydantic import SecretStr

from worker import metrics
from worker.audio.frame_feed import FrameFeed
from worker.audio.pcm_frames import BYTES_PER_SAMPLE
from worker.audio.voice_activity import PcmFrame, VoiceActivityMap
from worker.realtime import messages
from worker.realtime.client import Client
from worker.realtime.commit_pairing import Commit
from worker.realtime.message_masking import mask_message
from worker.realtime.messages import Lost, Message
from worker.realtime.pacing import Pacer
from worker.realtime.rate_control import RateControl
from worker.realtime.session import Session
from worker.realtime.session_states import Phase, SessionEnd
from worker.realtime.wakeup import Wakeup
from worker.secret_masking import masker_of
from worker.session_timeline import Timeline
from worker.settings import Settings

MAX_FRAMES_PER_TURN: Final = 4
"""Maximum number of frames sent before other tasks of the event loop may run. It is above 1, because one iteration of
the loop takes longer than sending a frame."""
CONFIG_TIMEOUT_S: Final = 0.3
"""Maximum seconds to wait for the service's configuration after session-started."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Address and API key of the service."""

    url: str
    api_key: SecretStr


class ServiceConnection(Protocol):
    """The part of `Client` that a stream uses; tests replace it."""

    async def open(self) -> None: ...

    async def emit(self, event: str, payload: dict[str, Any] | None = None) -> bool: ...

    async def close(self) -> None: ...


class SessionStream:
    """Runs one session: opens it, streams `frames`, streams silence until the last words are committed, and closes it.

    It can stop before the end of `frames`: at the first pause after `STT_SESSION_MAX_S`, or at a pause at which
    `make_room` returns True because another session waits for the slot. `options` are added to `start-session`.
    `timeline` and `voice` record the sent audio. `on_commit` is awaited for each commit in order, `on_session` after
    each change and at least every second.
    """

    def __init__(
        self,
        endpoint: ServiceAddress,
        frames: FrameFeed,
        *,
        settings: Settings,
        options: Mapping[str, object] | None = None,
        speed: RateControl,
        timeline: Timeline,
        voice: VoiceActivityMap,
        on_commit: Callable[[Commit], Awaitable[None]],
        on_session: Callable[[Session], Awaitable[None]],
        make_room: Callable[[], bool] = lambda: False,
        connect: Callable[..., ServiceConnection] = Client,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._frames = frames
        self._rate = settings.sample_rate
        self._timeline = timeline
        self._voice = voice
        self._on_commit = on_commit
        self._on_session = on_session
        self._options = dict(options or {})
        self._make_room = make_room
        self._session = Session(settings, speed, self._loop.time())
        self._client = connect(endpoint.url, endpoint.api_key, settings, self._take, self._drop)
        self._inbox: list[Message | Lost] = []
        self._masker = masker_of(settings)
        self._listener_wakeup = Wakeup(self._loop)
        self._sender_wakeup = Wakeup(self._loop)
        self._pacer = Pacer(1.0, 0.0)  # replaced before the first frame
        self._held = True  # each message wakes the sender; False while it only waits for the time of the next frame
        self._at_once = 0  # frames sent since the last wait
        self._padding_samples = int(settings.frame_s * settings.sample_rate)

    async def run(self) -> Session:
        """Run the session. Returns its state when it has ended. The connection is always closed, also after an
        exception.

        Raises the EndpointError of `Client.open` if no session could be opened, and the errors of `frames`, `on_commit`
        and `on_session`.
        """
        await self._client.open()
        with metrics.measure_session(lambda: self._session.sent_samples / self._rate, lambda: self._pacer.worst_late_s):
            await self._run()
        return self._session

    async def _run(self) -> None:
        sender: asyncio.Task[None] | None = None
        try:
            self._session.connected(self._loop.time())
            sender = asyncio.create_task(self._send())
            # This wakes the listener. Otherwise an error of the sender would be raised only after the next message or
            # deadline.
            sender.add_done_callback(lambda _: self._listener_wakeup.set())
            await self._listen(sender)
        finally:
            try:
                if sender is not None:
                    sender.cancel()
                    await asyncio.gather(sender, return_exceptions=True)
            finally:  # the wait above may be cancelled
                await self._client.close()

    # -- listener --------------------------------------------------------------------------------------------------

    def _take(self, event: str, payload: object = None) -> None:
        # Secrets are masked here, where messages arrive, so that no later code can write the key to a log or a
        # transcript.
        self._inbox.append(mask_message(messages.parse(event, payload), self._masker))
        self._listener_wakeup.set()

    def _drop(self, lost: Lost) -> None:
        mask = self._masker.text
        self._inbox.append(Lost(mask(lost.reason), lost.close_code, mask(lost.close_reason)))
        self._listener_wakeup.set()

    async def _listen(self, sender: asyncio.Task[None]) -> None:
        session = self._session
        while session.phase is not Phase.ENDED:
            await self._listener_wakeup.wait(session.deadline(self._loop.time()))
            now = self._loop.time()
            items, self._inbox = self._inbox, []
            for item in items:
                if isinstance(item, Lost):
                    session.disconnected(item, now)
                else:
                    session.message(item, now)
            session.tick(now)
            await self._deliver()
            if self._held or session.phase is not Phase.STREAMING:
                self._sender_wakeup.set()
            if sender.done() and not sender.cancelled() and (failure := sender.exception()):
                raise failure

    async def _deliver(self) -> None:
        for commit in self._session.take_commits():
            await self._on_commit(commit)
            self._measure(commit)
        await self._on_session(self._session)

    def _measure(self, commit: Commit) -> None:
        """Measure the latency of a commit: the length of the audio that was sent after the commit's last word, divided
        by the sending speed."""
        ends = [word.end for word in commit.words if word.end is not None]
        if ends:
            sent_s = (self._session.sent_samples + self._session.padding_samples) / self._rate
            behind_s = max(0.0, sent_s - max(ends))
            metrics.COMMIT_LATENCY.observe(behind_s / self._session.achieved(self._loop.time()))

    # -- sender ----------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        """Start the session, send the frames, flush, and send stop-session. Returns early if the connection is lost."""
        session = self._session
        if not await self._client.emit(messages.START, messages.start_session(self._rate, self._options)):
            return
        while session.phase is Phase.STARTING:
            await self._sender_wakeup.wait()
        began = self._loop.time()
        self._pacer = pacer = Pacer(session.speed.current(began), began)
        paused = False
        while (frame := await self._next_frame(pacer)) is not None:
            if self._at_once == MAX_FRAMES_PER_TURN:
                self._at_once = 0
                await asyncio.sleep(0)  # unpaced frames must not block other tasks
            # This is a pause: neither this frame nor the frame before it has voice activity.
            if paused and not frame.runs and self._may_rotate():
                self._frames.push_back(frame)
                session.input_ended(self._loop.time(), rotate=True)
                break
            paused, samples = not frame.runs, frame.samples
            if not await self._may_send(pacer, samples):
                self._frames.push_back(frame)
                return
            # Recorded before the send: a commit with words of this frame may arrive before the send returns.
            self._timeline.add_audio(frame.file_start, samples)
            self._voice.add(frame)
            if not await self._emit_audio(frame.pcm, frame.runs):
                return
            self._at_once += 1
            del frame  # otherwise it would take memory during the wait for the next one
        # Without the configuration the session would not know whether the service commits at the stop, and would stream
        # silence for nothing.
        await self._wait_for_config(until=began + CONFIG_TIMEOUT_S)
        session.input_ended(self._loop.time())
        await self._flush()
        if session.phase is Phase.STOPPING:
            await self._client.emit(messages.STOP)

    def _may_rotate(self) -> bool:
        """Whether to end this session at the current pause: it is old enough, or another session waits for the slot."""
        session = self._session
        return session.may_rotate(self._loop.time()) or (not session.pending_text and self._make_room())

    async def _next_frame(self, pacer: Pacer) -> PcmFrame | None:
        """Return the next frame when it is due, or None at the end of the audio or of the session.

        A frame that waits takes 8 KB of the memory of a live session, so it is read late. At the end that the header
        declares, the next frame is read at once, because the last words wait for the end."""
        if not self._frames.at_declared_end and not await self._wait_until_due(pacer):
            return None
        return next(self._frames, None)

    async def _wait_until_due(self, pacer: Pacer) -> bool:
        """Wait until the next frame is due. Returns False if the session accepts no more audio."""
        session = self._session
        position_s = session.sent_samples / self._rate
        while session.phase is Phase.STREAMING:
            now = self._loop.time()
            speed = session.speed.current(now)
            # The speed may change during the wait, because all sessions of the job share the rate control.
            if speed != pacer.speed:
                pacer.change(speed, position_s, now)
            at = pacer.due(position_s)
            self._held = at <= now
            if self._held:
                return True
            await self._sender_wakeup.wait(at)
            self._held, self._at_once = True, 0
        return False

    async def _may_send(self, pacer: Pacer, samples: int) -> bool:
        """Wait until the frame is due and flow control allows sending it. Returns False if the session accepts no more
        audio."""
        session = self._session
        while await self._wait_until_due(pacer):
            now = self._loop.time()
            at = session.send_at(samples, now)
            if at <= now:
                pacer.sent(session.sent_samples / self._rate, now)
                return True
            await self._sender_wakeup.wait(at)
            self._at_once = 0
        return False

    async def _wait_for_config(self, until: float) -> None:
        """Wait until clock time `until` for the service's configuration, which shows how the service ends a session.

        The configuration follows session-started immediately, but a short file may be sent completely before it
        arrives."""
        session = self._session
        while session.session_id is None and session.phase is Phase.STREAMING and self._loop.time() < until:
            await self._sender_wakeup.wait(until)

    async def _flush(self) -> None:
        """Send frames of silence while the session is in the phase `flushing`."""
        session = self._session
        samples = self._padding_samples
        silence = bytes(samples * BYTES_PER_SAMPLE)
        while session.phase is Phase.FLUSHING:
            now = self._loop.time()
            at = session.padding_at(now)
            if at > now:
                await self._sender_wakeup.wait(at)
                continue
            self._timeline.add_padding(samples)
            if not await self._emit_audio(silence, padding=True):
                return

    async def _emit_audio(self, pcm: bytes, runs: Sequence[tuple[int, int]] = (), *, padding: bool = False) -> bool:
        session = self._session
        session.sending(self._loop.time())
        # pybase64 takes 0.03 CPU seconds per hour of audio, the standard library 0.6 (frames of 100 ms).
        chunk = messages.audio_chunk(pybase64.b64encode_as_string(pcm), self._rate)
        accepted = await self._client.emit(messages.CHUNK, chunk)
        if accepted:
            session.sent(len(pcm) // BYTES_PER_SAMPLE, self._loop.time(), runs=runs, padding=padding)
        return accepted


def ended(session: Session) -> SessionEnd:
    """Return the reason for a session's end. Raises RuntimeError if the session is still running."""
    if session.end is None:
        raise RuntimeError("the session has not ended")
    return session.end
