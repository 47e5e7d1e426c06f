"""A service that only counts: `python -m tests.bench.sink [PAUSE [wall]]` prints its address, runs until input ends.

The service uses plain aiohttp websockets, with the parts of Engine.IO and Socket.IO that a client of the real-time API
needs. The amount of audio is computed from the length of the messages; audio is never decoded. `GET /stats` returns the
counts since the last call.

It commits the words of the benchmark's audio (`tests.bench.files`) at their times, every five seconds. Without words,
clients would stream speech again. With PAUSE (seconds) it commits like the real service: after that much silence in the
audio, and not at the stop. With `wall`, the silence is measured on the clock, and not by the amount of audio.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

import orjson
import uvloop
from aiohttp import WSMsgType, web

from tests.support import tones
from worker.realtime import messages

OPEN = '0{"sid":"%s","upgrades":[],"pingInterval":25000,"pingTimeout":60000,"maxPayload":100000000}'
CHUNK = f'42["{messages.CHUNK}"'
PING_EVERY_S = 25.0
# A session announces the commit on stop, so that a client need not wait for a pause.
COMMIT_EVERY_S = 5.0
SPEECH_S = 60.0  # the audio repeats after this time
SPEECH = tuple(tones.speech(SPEECH_S))


def event(name: str, payload: object = None) -> str:
    return "42" + orjson.dumps([name] if payload is None else [name, payload]).decode()


DEFAULT_PAUSE_S = 1.5


class Session:
    """One connection and the audio that arrived on it."""

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.told_s = 0.0  # audio of the reported chunks
        self.silent_s = 0.0  # silence since the last chunk with sound
        self.voiced_at = 0.0  # arrival time of that chunk
        self.in_progress = False
        self.arrivals: list[float] = []
        self.audio_s: list[float] = []
        self.total_s = 0.0
        self.text_bytes = 0
        self.rate = 16000
        self.committed_s = 0.0
        self.words = 0  # number of committed words
        self.partials = 0

    def counted(self) -> dict[str, object]:
        found = {"sid": self.sid, "before_s": self.told_s, "arrivals": self.arrivals, "audio_s": self.audio_s,
                 "text_bytes": self.text_bytes, "voiced_at": self.voiced_at}  # fmt: skip
        self.told_s = self.total_s
        self.arrivals, self.audio_s, self.text_bytes = [], [], 0
        return found


class Sink:
    def __init__(self, pause_s: float | None, *, wall: bool = False) -> None:
        self._pause_s = pause_s
        self._wall = wall
        self._names = itertools.count()
        self._sessions: list[Session] = []
        self.opened = 0

    async def connect(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        session = Session(f"s{next(self._names)}")
        self._sessions.append(session)
        await socket.send_str(OPEN % session.sid)
        pings = asyncio.create_task(self._ping(socket))
        try:
            async for message in socket:
                now = time.monotonic()
                if message.type is not WSMsgType.TEXT:
                    continue
                if message.data.startswith(CHUNK):
                    await self._chunk(socket, session, message.data, now)
                elif not await self._other(socket, session, message.data):
                    break
        finally:
            pings.cancel()
        return socket

    async def _chunk(self, socket: web.WebSocketResponse, session: Session, text: str, now: float) -> None:
        # 42["audio-chunk",{"audio_base_64":"....","sample_rate":16000}]: the longest string is the audio.
        start = text.index(":", len(CHUNK)) + 2
        end = text.index('"', start)
        audio_s = (end - start - text.count("=", end - 2, end)) * 3 // 4 / 2 / session.rate
        session.arrivals.append(now)
        session.audio_s.append(audio_s)
        session.text_bytes += len(text)
        session.total_s += audio_s
        if self._pause_s is not None:
            await self._listen(socket, session, audio_s, silent=not text[start:end].strip("A="))
            if session.total_s >= (session.partials + 1) * COMMIT_EVERY_S:
                session.partials = int(session.total_s / COMMIT_EVERY_S)
                payload = {"message_type": messages.TYPE_PARTIAL, "text": f"part {session.partials}"}
                await socket.send_str(event(messages.TRANSCRIPT, payload))
        elif session.total_s >= session.committed_s + COMMIT_EVERY_S:
            await self._commit(socket, session, session.total_s)

    async def _listen(self, socket: web.WebSocketResponse, session: Session, audio_s: float, *, silent: bool) -> None:
        if not silent:
            session.silent_s, session.voiced_at, session.in_progress = 0.0, time.time(), True
            return
        session.silent_s += audio_s
        silent_s = time.time() - session.voiced_at if self._wall else session.silent_s
        if session.in_progress and silent_s >= (self._pause_s or 0):
            session.in_progress = False
            await self._commit(socket, session, session.total_s - session.silent_s)

    async def _other(self, socket: web.WebSocketResponse, session: Session, text: str) -> bool:
        if text == "3":
            return True
        if text.startswith("40"):
            await socket.send_str("40" + orjson.dumps({"sid": session.sid}).decode())
            return True
        if text.startswith(f'42["{messages.START}"'):
            self.opened += 1
            session.rate = orjson.loads(text[2:])[1]["sampleRate"]
            config = {"model_id": "sink", "sample_rate": session.rate,
                      "vad_silence_threshold_secs": self._pause_s or DEFAULT_PAUSE_S,
                      messages.FIELD_COMMIT_ON_STOP: self._pause_s is None}  # fmt: skip
            started = {"message_type": messages.TYPE_STARTED, "session_id": session.sid, "config": config}
            await socket.send_str(event(messages.STARTED))
            await socket.send_str(event(messages.TRANSCRIPT, started))
            return True
        if text.startswith(f'42["{messages.STOP}"'):
            await self._close(socket, session)
            return True
        return not text.startswith(("1", "41"))

    async def _close(self, socket: web.WebSocketResponse, session: Session) -> None:
        if self._pause_s is None:
            await self._commit(socket, session, session.total_s, last=True)
        await socket.send_str(event(messages.CLOSED, {"code": 1000, "reason": ""}))

    async def _commit(self, socket: web.WebSocketResponse, session: Session, end: float, *, last: bool = False) -> None:
        """Commit the words that end before `end`; with `last`, also a word that begins before it."""
        session.committed_s = end
        words = []
        while True:
            whole, number = divmod(session.words, len(SPEECH))
            start, stop = (whole * SPEECH_S + at for at in (SPEECH[number].start, SPEECH[number].end))
            if (start if last else stop) + 0.01 > end:
                break
            session.words += 1
            word = {"text": SPEECH[number].text, "start": round(start, 3), "end": round(min(stop, end), 3)}
            words.append({**word, "type": "word", "logprob": -0.1})
        if not words:
            return
        text = " ".join(str(word["text"]) for word in words)
        for kind, more in ((messages.TYPE_COMMITTED, {}), (messages.TYPE_COMMITTED_TIMED, {"words": words})):
            await socket.send_str(event(messages.TRANSCRIPT, {"message_type": kind, "text": text, **more}))

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(PING_EVERY_S)
            await socket.send_str("2")

    async def stats(self, _: web.Request) -> web.Response:
        found = [counted for s in self._sessions if (counted := s.counted())["arrivals"]]
        body = orjson.dumps({"opened": self.opened, "sessions": found})
        return web.Response(body=body, content_type="application/json")


async def main() -> None:
    sink = Sink(float(sys.argv[1]) if len(sys.argv) > 1 else None, wall="wall" in sys.argv[2:])
    app = web.Application()
    app.router.add_get(f"{messages.PATH}/", sink.connect)
    app.router.add_get("/stats", sink.stats)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    port = runner.addresses[0][1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
