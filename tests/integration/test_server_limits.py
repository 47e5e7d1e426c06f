"""The self-hosted service under load, at its limits, and during its shutdown."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import aiohttp
import pytest

from tests.support.fleet import limit_of
from tests.support.service import HEADERS, KEY, Caller, GatedRecognizer, caller, service, tones
from tests.support.tone_recognizer import ENGINE
from tests.support.wait import allowed_s, async_wait_until, wait_until
from worker.realtime import messages
from worker.realtime.messages import CLOSED, START
from worker.server.app import RunningServer
from worker.server.recognizers import Recognition, Samples


async def test_audio_far_ahead_of_recognition_overflows_and_harms_no_other_session() -> None:
    gated = GatedRecognizer()
    words, pcm = tones(4)
    _, much = tones(60)
    async with service(gated, server_max_backlog_s=6) as server, caller(server) as one, caller(server) as other:
        await other.start()
        await other.say(pcm)
        await one.start()
        await one.say(much, chunk_s=0.2)
        closed = await one.closed(30)
        assert closed == {"code": 1013, "reason": "queue overflow"}
        assert len(one.errors) == 1
        assert one.errors[0].startswith("queue_overflow: ")
        gated.gate.set()
        assert (await other.finish())["code"] == 1000
        assert other.text.split() == [w.text for w in words]
        assert other.errors == []


async def test_a_client_at_full_speed_is_slowed_to_the_pace_of_recognition() -> None:
    """Ten minutes of audio are sent at once, with a limit of 20 s. The backlog does not overflow, because recognition
    is faster than real time."""
    words, pcm = tones(600)
    async with service(server_max_backlog_s=20) as server, caller(server) as one:
        await one.start()
        most = 0.0
        await one.say(pcm, chunk_s=1)
        stopping = asyncio.create_task(one.finish(100))
        while not stopping.done():
            most = max(most, server.backlog_s)
            await asyncio.wait({stopping}, timeout=0.01)
        assert stopping.result()["code"] == 1000
        assert one.errors == []
        assert one.text.split() == [w.text for w in words]
        assert 0 < most <= 20


class RecordingRecognizer(GatedRecognizer):
    """Records the text of each final recognition, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        recognition = super().recognize(samples, final=final)
        if final:
            self.texts.append(recognition.text)
        return recognition


async def test_sessions_take_turns() -> None:
    """One session has a large backlog. A later session does not wait for the whole backlog: the sessions alternate."""
    gated = RecordingRecognizer()
    _, much = tones(60)
    words, pcm = tones(3, seed=1)
    async with service(gated) as server, caller(server) as one, caller(server) as other:
        await one.start()
        await one.say(much)
        await one.until(lambda: server.backlog_s > 40, "much is waiting")
        await other.start()
        await other.say(pcm)
        await other.emit(messages.STOP)
        await other.until(
            # The backlog in seconds includes audio that no session has split into utterances yet.
            lambda: [session.backlog.recognizing for session in server._sockets.sessions] == [True, True],
            "utterances of both sessions wait for recognition",
        )
        gated.gate.set()
        await other.until(lambda: other.named(CLOSED), "the second session is served")
        assert other.text.split() == [w.text for w in words]
        await one.finish()
    (served,) = [number for number, text in enumerate(gated.texts) if words[0].text in text]
    # One recognition of the first session runs and one is before it in the line.
    assert served <= 2


async def test_sessions_over_the_limit_are_turned_away() -> None:
    async with service(server_max_sessions=2) as server, caller(server) as a, caller(server) as b, caller(server) as c:
        await a.start()
        await b.start()
        await c.emit(START, {"sampleRate": 16000})
        closed = await c.closed()
        assert c.errors[0].startswith("resource_exhausted: ")
        assert closed["code"] == 1013
        await a.finish()
        await c.start()
        await c.until(lambda: len(c.named(CLOSED)) == 1, "the next try is taken")


async def test_an_idle_session_is_committed_and_closed() -> None:
    words, pcm = tones(4)
    async with service(server_idle_timeout_s=2) as server, caller(server) as one:
        await one.start()
        await one.say(pcm)
        closed = await one.closed()
        assert closed["code"] == 1000
        assert "idle" in closed["reason"]
        assert one.text.split() == [w.text for w in words]
        assert one.connected


async def test_a_flood_of_bad_messages_ends_the_session() -> None:
    async with service() as server, caller(server) as one:
        await one.start()
        for _ in range(150):
            await one.emit(messages.CHUNK, {})
        closed = await one.closed()
        assert closed["code"] == 1008


async def test_attachments_are_not_collected() -> None:
    """A packet may announce ten thousand million attachments. python-socketio buffers them until all arrive."""
    async with service() as server:
        url = f"{server.url.replace('http', 'ws', 1)}{messages.PATH}/?EIO=4&transport=websocket"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=HEADERS) as socket:
            await socket.receive()
            await socket.send_str("40")
            await socket.receive()
            await socket.send_str('42["start-session",{"sampleRate":16000}]')
            for kind in ("459999999999", "452", "469999999999", "460002"):
                await socket.send_str(f'{kind}-["audio-chunk",{{}}]')
                for _ in range(3):
                    await socket.send_bytes(bytes(100_000))
            await async_wait_until(lambda: len(server._sio._binary_packet) == 0, "nothing is collected")
            one = '451-["audio-chunk",{"sample_rate":16000,"audio_base_64":{"_placeholder":true,"num":0}}]'
            await socket.send_str(one)
            await socket.send_bytes(bytes(320))
            said = ""
            async with asyncio.timeout(allowed_s(5)):
                while "audio_base_64 must be a text" not in said:
                    said = str((await socket.receive()).data)


@limit_of(2.0)
async def test_closing_tells_the_clients_and_is_quick(limit_s: float) -> None:
    gated = GatedRecognizer()
    _, pcm = tones(4)
    async with service(gated) as server:
        ones = [Caller() for _ in range(3)]
        for one, transport in zip(ones, ("websocket", "websocket", "polling"), strict=True):
            await one.connect(server.url, transport)
            await one.start()
            await one.say(pcm)
        began = time.monotonic()
        await server.close()
        assert time.monotonic() - began < limit_s
        for one in ones:
            closed = await one.closed(3)
            assert closed == {"code": 1001, "reason": "the server is shutting down"}
        for one in ones:
            await one.leave()


@limit_of(2.0)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_within_two_seconds_of_a_signal(number: signal.Signals, limit_s: float) -> None:
    """Clients are connected. `run` prints its log on standard error, and nothing on standard output."""
    program = (
        "import sys\n"
        "from worker import settings\n"
        "from worker.server.app import run\n"
        "run(settings.load(), lambda url: (sys.stderr.write('READY ' + url + chr(10)), sys.stderr.flush()))\n"
    )
    env = {**os.environ, "STT_SERVER_PORT": "0", "STT_SERVER_API_KEYS": KEY, "STT_SERVER_RECOGNIZER": ENGINE}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            if line.startswith("READY "):
                url = line.removeprefix("READY ").strip()
                break
        assert url, "the server did not start"
        closed = asyncio.run(_signalled(url, process, number))
        began = time.monotonic()
        wait_until(lambda: process.poll() is not None, "the process ends", 30)
        assert time.monotonic() - began < limit_s
        out, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
        assert out == ""
        assert "Traceback" not in log
        assert closed == {"code": 1001, "reason": "the server is shutting down"}


@limit_of(2.0)
def test_a_signal_while_the_recognizer_loads_ends_the_process_too(limit_s: float) -> None:
    program = "from worker import settings; from worker.server.app import run; run(settings.load())"
    engine = "tests.support.service:load_for_ever"
    env = {**os.environ, "STT_SERVER_PORT": "0", "STT_SERVER_API_KEYS": KEY, "STT_SERVER_RECOGNIZER": engine}
    with subprocess.Popen([sys.executable, "-c", program], env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("loading for ever" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, "the process ends", limit_s)
        assert process.returncode == 0


async def _signalled(url: str, process: subprocess.Popen[str], number: signal.Signals) -> object:
    _, pcm = tones(5)
    one = Caller()
    await one.connect(url)
    await one.start()
    await one.say(pcm)
    process.send_signal(number)
    closed = await one.closed(3)
    await one.leave()
    return closed


@pytest.mark.parametrize("transport", ["websocket", "upgraded"])
async def test_a_client_that_does_not_read_is_dropped(transport: str) -> None:
    """If the client stayed connected, its unread messages would use more and more memory."""
    async with service() as server, aiohttp.ClientSession() as session:
        url = f"{server.url}{messages.PATH}/?EIO=4"
        socket = await (_direct if transport == "websocket" else _upgraded)(session, url)
        await socket.send_str("40")
        async with asyncio.timeout(allowed_s(5)):
            while not (await socket.receive_str()).startswith("40"):
                pass
        socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
        (sid,) = server._sockets._connections
        for _ in range(5000):
            await server._sockets._emit(sid, messages.TRANSCRIPT, {"text": "x" * 20_000})
            await asyncio.sleep(0)
            if not server._sockets.connections:
                break
        assert server._sockets.connections == 0
        await async_wait_until(lambda: server._sio.eio.sockets == {} or _all_closed(server), "the socket is closed")
        socket._response.connection.transport.abort()  # type: ignore[union-attr]


def _all_closed(server: RunningServer) -> bool:
    return all(socket.closed for socket in server._sio.eio.sockets.values())


async def _direct(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    return await session.ws_connect(f"{url}&transport=websocket", headers=HEADERS)


async def _upgraded(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    async with session.get(f"{url}&transport=polling", headers=HEADERS) as answer:
        sid = json.loads((await answer.text())[1:])["sid"]
    socket = await session.ws_connect(f"{url}&transport=websocket&sid={sid}")
    await socket.send_str("2probe")
    assert await socket.receive_str() == "3probe"
    await socket.send_str("5")
    return socket
