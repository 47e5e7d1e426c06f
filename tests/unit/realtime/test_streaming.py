"""Streaming in virtual time to a simulated connection."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support import virtual_time
from worker.audio.voice_activity import PcmFrame, VoiceActivityMap
from worker.realtime import messages
from worker.realtime.messages import Lost
from worker.realtime.rate_control import RateControl
from worker.realtime.session import Session
from worker.realtime.session_states import EndReason
from worker.realtime.streaming import ServiceAddress, SessionStream
from worker.session_timeline import Timeline
from worker.settings import Settings, load

RATE = 16000


class Service:
    """A connection that records the time of each chunk and answers with `answer`."""

    def __init__(self, answer: Callable[[Service, str], None], emit_s: Callable[[int], float] = lambda _: 0.0) -> None:
        self.left: list[float] = []
        self.closed = False
        self._answer = answer
        self._emit_s = emit_s
        self.say: Callable[..., None] = lambda *_: None
        self.drop: Callable[[Lost], None] = lambda _: None

    def __call__(self, _url: str, _key: SecretStr, _settings: Settings, say: Any, drop: Any) -> Service:
        self.say, self.drop = say, drop
        return self

    async def open(self) -> None: ...

    async def emit(self, event: str, _payload: dict[str, Any] | None = None) -> bool:
        if event == messages.CHUNK:
            self.left.append(asyncio.get_running_loop().time())
            if takes_s := self._emit_s(len(self.left)):
                await asyncio.sleep(takes_s)
        self._answer(self, event)
        return True

    async def close(self) -> None:
        self.closed = True


def willing(service: Service, event: str) -> None:
    """A service that starts the session, sends a message after each chunk, and closes after the stop."""
    if event == messages.START:
        service.say(messages.STARTED)
        config = {"message_type": messages.TYPE_STARTED, "config": {messages.FIELD_COMMIT_ON_STOP: True}}
        service.say(messages.TRANSCRIPT, config)
    elif event == messages.CHUNK:
        service.say(messages.TRANSCRIPT, {"message_type": messages.TYPE_PARTIAL, "text": ""})
    else:
        service.say(messages.CLOSED, {"code": 1000, "reason": messages.REASON_STOPPED})


class Frames:
    """Frames of silence or of sound, without a file."""

    def __init__(self, count: int, samples: int, *, voiced: bool) -> None:
        self.unread = iter(
            PcmFrame(bytes(samples * 2), n * samples, ((0, samples),) if voiced else ()) for n in range(count)
        )
        self.declared = count
        """Number of frames that the header declares."""
        self.read_at: list[float] = []
        self.given_back: list[PcmFrame] = []

    @property
    def at_declared_end(self) -> bool:
        return len(self.read_at) >= self.declared

    def push_back(self, frame: PcmFrame) -> None:
        self.given_back.append(frame)

    def __next__(self) -> PcmFrame:
        frame = next(self.unread)
        self.read_at.append(asyncio.get_running_loop().time())
        return frame


def stream(
    service: Service,
    duration_s: float,
    speed: float = 1.0,
    *,
    frame_s: float = 0.25,
    voiced: bool = False,
    declared: int | None = None,
    **env: str,
) -> tuple[Session, Frames]:
    frames = Frames(int(duration_s / frame_s), int(frame_s * RATE), voiced=voiced)
    if declared is not None:
        frames.declared = declared

    async def nothing(_: object) -> None: ...

    async def run() -> Session:
        return await SessionStream(
            ServiceAddress("http://nowhere", SecretStr("")),
            frames,  # type: ignore[arg-type]
            settings=load({"STT_SESSION_MAX_S": "0", **env}),
            speed=RateControl(speed, 0.0),
            timeline=Timeline(RATE),
            voice=VoiceActivityMap(RATE),
            on_commit=nothing,
            on_session=nothing,
            connect=service,
        ).run()

    return virtual_time.run(run()), frames


def test_an_hour_of_real_time_is_on_time_to_the_last_frame() -> None:
    service = Service(willing, emit_s=lambda n: 0.12 if n % 10 == 0 else 0.0)
    started = time.process_time()
    session, _ = stream(service, 3600)
    took_s = time.process_time() - started
    assert session.end is not None
    assert session.end.reason is EndReason.COMPLETED
    assert service.closed
    late = [at - n * 0.25 for n, at in enumerate(service.left)]
    assert len(late) == 14_400
    assert min(late) >= 0
    assert max(late) < 0.01, "lateness must not add up"
    if sys.gettrace() is None:  # measuring the coverage takes time as well
        assert took_s < 4, f"an hour took {took_s:.1f} s of CPU"


def test_a_frame_of_a_real_time_session_is_read_when_it_is_due() -> None:
    service = Service(willing)
    _, frames = stream(service, 10)
    assert frames.read_at == service.left
    assert frames.read_at == pytest.approx([n * 0.25 for n in range(40)], abs=0.02)


@pytest.mark.parametrize(("declared", "end_s"), [(40, 9.75), (80, 10.0), (20, 9.75), (0, 9.75)])
def test_all_frames_are_sent_whatever_length_the_header_declares(declared: int, end_s: float) -> None:
    ended: list[float] = []

    def noting(service: Service, event: str) -> None:
        if event == messages.STOP:
            ended.append(asyncio.get_running_loop().time())
        willing(service, event)

    service = Service(noting)
    stream(service, 10, declared=declared)
    assert service.left == pytest.approx([n * 0.25 for n in range(40)], abs=0.02)
    assert ended == [pytest.approx(end_s, abs=0.02)]


def test_frames_follow_the_speed() -> None:
    for speed in (0.5, 2.0, 8.0):
        service = Service(willing)
        stream(service, 60, speed)
        assert service.left[-1] == pytest.approx(59.75 / speed)


def test_a_long_gap_is_not_followed_by_a_burst() -> None:
    service = Service(willing, emit_s=lambda n: 30.0 if n == 40 else 0.0)
    stream(service, 60, 1.0)
    after = service.left[40:]
    burst = sum(1 for at in after if at <= after[0] + 0.5)
    assert burst <= 2.0 / 0.25 + 4
    assert service.left[-1] == pytest.approx(59.75 + 30 - 0.25 - 2.0)


def test_at_full_speed_the_send_ahead_limit_holds() -> None:
    def mute(service: Service, event: str) -> None:
        if event == messages.START:
            service.say(messages.STARTED)

    service = Service(mute)
    session, _ = stream(
        service, 600, math.inf, frame_s=1.0, voiced=True, STT_SEND_AHEAD_MAX_S="30", STT_STALL_TIMEOUT_S="60"
    )
    assert session.end is not None
    assert session.end.reason is EndReason.STALLED
    for n, at in enumerate(service.left):
        assert n + 1 <= max(30, at + 1), "ahead of the window and of real time"
    gaps = [b - a for a, b in zip(service.left, service.left[1:], strict=False)]
    assert max(gaps) <= 5.0, "a waiting session sends keep-alive frames"
    assert service.left[-1] < 60


def test_at_full_speed_silence_is_not_delayed() -> None:
    def mute(service: Service, event: str) -> None:
        if event == messages.START:
            service.say(messages.STARTED)
        elif event == messages.STOP:
            service.say(messages.CLOSED, {"code": 1000})

    service = Service(mute)
    session, _ = stream(service, 600, math.inf, frame_s=1.0)
    assert session.end is not None
    assert session.end.reason is EndReason.COMPLETED
    assert service.left[599] == 0.0


@pytest.mark.parametrize(("after_s", "padded"), [(0.0, False), (0.2, False), (1.0, True)])
def test_a_short_file_waits_for_the_configuration(after_s: float, padded: bool) -> None:
    """At full speed, the whole file is sent before the configuration arrives."""

    def answer(service: Service, event: str) -> None:
        config = {
            "message_type": messages.TYPE_STARTED,
            "session_id": "1",
            "config": {messages.FIELD_COMMIT_ON_STOP: True},
        }
        if event == messages.START:
            service.say(messages.STARTED)
            asyncio.get_running_loop().call_later(after_s, lambda: service.say(messages.TRANSCRIPT, config))
        elif event == messages.STOP:
            service.say(messages.CLOSED, {"code": 1000, "reason": messages.REASON_STOPPED})

    session, _ = stream(Service(answer), 5, math.inf)
    assert session.end is not None
    assert session.end.reason is EndReason.COMPLETED
    assert (session.padding_samples > 0) is padded


def test_a_blocked_transport_stalls_the_session() -> None:
    service = Service(willing, emit_s=lambda n: 1e6 if n == 10 else 0.0)
    session, _ = stream(service, 60, STT_STALL_TIMEOUT_S="20")
    assert session.end is not None
    assert session.end.reason is EndReason.STALLED
    assert len(service.left) == 10
    assert service.closed


def test_a_lost_connection_returns_the_unsent_frame() -> None:
    def dropping(service: Service, event: str) -> None:
        willing(service, event)
        if len(service.left) == 5:
            service.drop(Lost("gone"))

    service = Service(dropping)
    session, frames = stream(service, 60)
    assert session.end is not None
    assert session.end.reason is EndReason.DROPPED
    assert len(service.left) <= 6
    assert service.closed
    following = frames.given_back[0] if frames.given_back else next(frames.unread)
    assert following.file_start == len(service.left) * int(0.25 * RATE), "no frame is lost"


def test_an_old_session_ends_at_a_pause_and_returns_the_next_frame() -> None:
    service = Service(willing)
    session, frames = stream(service, 60, STT_SESSION_MAX_S="20")
    assert session.rotated
    assert session.end is not None
    assert session.end.reason is EndReason.COMPLETED
    assert len(service.left) == 80
    assert frames.given_back[0].file_start == 20 * RATE


def test_an_error_of_a_callback_ends_the_stream_and_closes() -> None:
    service = Service(willing)

    async def lost(_: object) -> None:
        raise RuntimeError("the lease is gone")

    async def run() -> None:
        await SessionStream(
            ServiceAddress("http://nowhere", SecretStr("")),
            Frames(100, 4000, voiced=False),  # type: ignore[arg-type]
            settings=load({}),
            speed=RateControl(1.0, 0.0),
            timeline=Timeline(RATE),
            voice=VoiceActivityMap(RATE),
            on_commit=lost,
            on_session=lost,
            connect=service,
        ).run()

    with pytest.raises(RuntimeError, match="lease"):
        virtual_time.run(run())
    assert service.closed
