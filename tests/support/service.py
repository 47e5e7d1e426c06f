"""Runs the self-hosted service on the event loop of the test, with recognizers that tests can control, and a minimal
client that stores every event. The client that this project offers to users has separate tests."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import numpy as np
import pybase64
import socketio

from tests.support.tone_recognizer import ToneRecognizer
from tests.support.tones import ToneWord, encode, speech
from tests.support.wait import async_wait_until
from worker import settings as settings_module
from worker.realtime import json_codec, messages
from worker.server.app import RunningServer, start
from worker.server.fault_options import Fault
from worker.server.recognition_engine import RecognizerLoader
from worker.server.recognizers import Recognition, Recognizer, Samples

KEY = "test-key"
HEADERS = {messages.KEY_HEADER: KEY}


class GatedRecognizer(ToneRecognizer):
    """A tone recognizer. Recognitions of complete utterances (`final`) wait until `gate` is set. All recognitions raise
    `failure` while it is set. `finals` counts the recognitions of complete utterances."""

    parallel = 1

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.failure: Exception | None = None
        self.finals = 0

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        if final:
            self.gate.wait(30)
            self.finals += 1
        if self.failure is not None:
            raise self.failure
        return super().recognize(samples, final=final)


def load_for_ever(_settings: settings_module.Settings) -> Recognizer:
    """Print a line to standard error, then block forever. A factory for STT_SERVER_RECOGNIZER."""
    sys.stderr.write("loading for ever\n")
    sys.stderr.flush()
    threading.Event().wait()
    raise AssertionError


@asynccontextmanager
async def service(
    recognizer: Recognizer | RecognizerLoader | None = None, faults: Iterable[Fault] = (), **options: Any
) -> AsyncIterator[RunningServer]:
    """Run the service on a free port with the key KEY. `options`: settings. At the end it opens the gate of a
    GatedRecognizer, so that no thread waits for it."""
    given = {"server_port": 0, "server_api_keys": KEY, **options}
    server = await start(settings_module.load({}, **given), recognizer or ToneRecognizer(), faults)
    try:
        yield server
    finally:
        if isinstance(recognizer, GatedRecognizer):
            recognizer.gate.set()
        await server.close()


class Serving(Protocol):
    """A server with a URL: a RunningServer, or a server in another process."""

    @property
    def url(self) -> str: ...


class Caller:
    """A client with one connection. `events`: name and payload of each received event, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self._client = socketio.AsyncClient(json=json_codec, reconnection=False)
        self._client.on("*", self._take)

    def _take(self, event: str, *payload: Any) -> None:
        self.events.append((event, payload[0] if payload else None))

    async def connect(self, url: str, transport: str = "websocket", key: str = KEY) -> None:
        headers = {messages.KEY_HEADER: key}
        await self._client.connect(
            url, headers=headers, socketio_path=messages.PATH, transports=[transport], wait_timeout=10
        )

    @property
    def connected(self) -> bool:
        return bool(self._client.connected)

    async def emit(self, event: str, payload: Any = None) -> None:
        await self._client.emit(event, payload)

    async def start(self, rate: int = 16000) -> None:
        before = len(self.named(messages.STARTED))
        await self.emit(messages.START, {"sampleRate": rate})
        await self.until(lambda: len(self.named(messages.STARTED)) > before, "session-started")

    async def say(self, pcm: bytes, rate: int = 16000, chunk_s: float = 0.5) -> None:
        """Send 16-bit PCM as fast as possible, in chunks of `chunk_s` seconds."""
        size = round(chunk_s * rate) * 2
        for at in range(0, len(pcm), size):
            text = pybase64.b64encode_as_string(pcm[at : at + size])
            await self.emit(messages.CHUNK, messages.audio_chunk(text, rate))

    async def finish(self, timeout_s: float = 20) -> dict[str, Any]:
        """Stop the session and wait for session-closed. Returns its payload."""
        await self.emit(messages.STOP)
        return await self.closed(timeout_s)

    async def closed(self, timeout_s: float = 20) -> dict[str, Any]:
        await self.until(lambda: self.named(messages.CLOSED), "session-closed", timeout_s)
        found: dict[str, Any] = self.named(messages.CLOSED)[-1]
        return found

    async def until(self, predicate: Any, description: str, timeout_s: float = 10) -> None:
        await async_wait_until(predicate, f"{description}; so far {self.events[-5:]}", timeout_s)

    def named(self, event: str) -> list[Any]:
        return [payload for name, payload in self.events if name == event]

    def messages(self, kind: str) -> list[Any]:
        """Return the received transcript messages with the message_type `kind`."""
        return [m for m in self.named(messages.TRANSCRIPT) if m["message_type"] == kind]

    @property
    def errors(self) -> list[str]:
        return [payload["error"] for payload in self.named(messages.ERROR)]

    @property
    def text(self) -> str:
        return " ".join(m["text"] for m in self.messages(messages.TYPE_COMMITTED))

    @property
    def words(self) -> list[dict[str, Any]]:
        return [
            word
            for message in self.messages(messages.TYPE_COMMITTED_TIMED)
            for word in message["words"]
            if word["type"] == "word"
        ]

    async def leave(self) -> None:
        await self._client.disconnect()


@asynccontextmanager
async def caller(server: Serving, transport: str = "websocket") -> AsyncIterator[Caller]:
    """Connect a Caller to the server, and disconnect it at the end."""
    one = Caller()
    await one.connect(server.url, transport)
    try:
        yield one
    finally:
        await one.leave()


def tones(duration_s: float, rate: int = 16000, seed: int = 0) -> tuple[list[ToneWord], bytes]:
    """Generate tone-coded speech. Returns its words, and its 16-bit PCM."""
    words = list(speech(duration_s, seed))
    return words, pcm16(encode(words, rate, duration_s=duration_s))


def pcm16(samples: Samples) -> bytes:
    return np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes()
