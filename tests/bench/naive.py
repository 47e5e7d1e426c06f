"""What one would write from the API page: `python -m tests.bench.naive WAY FILE URL`, in s/h.

One file, chunks of 100 ms, the standard library's JSON and base64, python-socketio as it comes; not paced, so that only
work is counted. WAY is `async` (its asyncio client), `sync` (its threaded client) or `ffmpeg` (that decodes, async).
"""

from __future__ import annotations

import asyncio
import base64
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from shutil import which

import numpy as np
import socketio
import soundfile
import soxr

from tests.bench.machine import cpu_s, tell
from worker.realtime import messages

RATE = 16000
CHUNK_S = 0.1


def available(way: str) -> str:
    """Why a way cannot be tried here; "" when it can."""
    if way == "sync" and not (find_spec("websocket") and find_spec("requests")):
        return "python-socketio[client] is not installed"
    return "" if way != "ffmpeg" or which("ffmpeg") else "there is no ffmpeg"


def chunks(path: str) -> Iterator[bytes]:
    with soundfile.SoundFile(path) as file:
        stream = soxr.ResampleStream(file.samplerate, RATE, 1, "float32")
        for block in file.blocks(int(file.samplerate * CHUNK_S), dtype="float32", always_2d=True):
            mono = block.mean(axis=1)
            wire = mono if file.samplerate == RATE else stream.resample_chunk(mono)
            yield (np.clip(wire, -1, 1) * 32767).astype("<i2").tobytes()


def chunks_of_ffmpeg(path: str) -> Iterator[bytes]:
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        while chunk := process.stdout.read(int(RATE * CHUNK_S) * 2):
            yield chunk


def payload(pcm: bytes) -> dict[str, object]:
    return {"audio_base_64": base64.b64encode(pcm).decode(), "sample_rate": RATE}


async def with_async(source: Iterator[bytes], url: str) -> None:
    client = socketio.AsyncClient()
    started, closed = asyncio.Event(), asyncio.Event()
    client.on(messages.STARTED, lambda *_: started.set())
    client.on(messages.CLOSED, lambda *_: closed.set())
    await client.connect(url, socketio_path=messages.PATH, transports=["websocket"])
    await client.emit(messages.START, {"sampleRate": RATE})
    await started.wait()
    for pcm in source:
        await client.emit(messages.CHUNK, payload(pcm))
        await client.eio.queue.join()  # else it queues the whole file
    await client.emit(messages.STOP)
    await closed.wait()
    await client.disconnect()


def with_sync(source: Iterator[bytes], url: str) -> None:
    client = socketio.Client()
    started, closed = threading.Event(), threading.Event()
    client.on(messages.STARTED, lambda *_: started.set())
    client.on(messages.CLOSED, lambda *_: closed.set())
    client.connect(url, socketio_path=messages.PATH, transports=["websocket"])
    client.emit(messages.START, {"sampleRate": RATE})
    started.wait()
    for pcm in source:
        client.emit(messages.CHUNK, payload(pcm))
    client.emit(messages.STOP)
    closed.wait()
    client.disconnect()


def main(way: str, path: str, url: str) -> None:
    audio_s = soundfile.info(path).duration
    source = chunks_of_ffmpeg(path) if way == "ffmpeg" else chunks(path)
    began = cpu_s()
    if way == "sync":
        with_sync(source, url)
    else:
        asyncio.run(with_async(source, url))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = cpu_s() - began + children.ru_utime + children.ru_stime
    tell({"cpu_s_per_h": used * 3600 / audio_s, "audio_s": audio_s})


if __name__ == "__main__":
    main(*sys.argv[1:4])
