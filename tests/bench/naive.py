"""Clients as one would write them from the API page: `python -m tests.bench.naive WAY URL FILE...`.

Prints s/h and files per second. The clients send chunks of 100 ms, use JSON and base64 of the standard library, and
python-socketio with its defaults. They do not wait between chunks, so that only work is measured. WAY is `loop` (the
asyncio client, one file at a time), `threads` (the threaded client, one thread for each of THREADS files) or `ffmpeg`
(as `loop`, but ffmpeg decodes). `tests.bench.prefork` is another way.
"""

from __future__ import annotations

import asyncio
import base64
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
THREADS = 8
WAYS = ("loop", "threads", "ffmpeg")


def available(way: str) -> str:
    """Return the reason why this variant cannot be measured on this machine, or "" if it can."""
    if way == "threads" and not find_spec("websocket"):
        return "websocket-client is not installed"
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


def due_s(began: float, number: int, *, paced: bool) -> float:
    """Return the seconds until chunk `number` is due."""
    return max(0.0, began + number * CHUNK_S - time.monotonic()) if paced else 0.0


async def with_async(source: Iterator[bytes], url: str, *, paced: bool = False) -> None:
    client = socketio.AsyncClient()
    started, closed = asyncio.Event(), asyncio.Event()
    client.on(messages.STARTED, lambda *_: started.set())
    client.on(messages.CLOSED, lambda *_: closed.set())
    await client.connect(url, socketio_path=messages.PATH, transports=["websocket"])
    await client.emit(messages.START, {"sampleRate": RATE})
    await started.wait()
    began = time.monotonic()
    for number, pcm in enumerate(source):
        await asyncio.sleep(due_s(began, number, paced=paced))
        await client.emit(messages.CHUNK, payload(pcm))
        await client.eio.queue.join()  # otherwise the client queues the whole file
    await client.emit(messages.STOP)
    await closed.wait()
    await client.disconnect()


def with_sync(source: Iterator[bytes], url: str, *, paced: bool = False) -> None:
    client = socketio.Client()
    started, closed = threading.Event(), threading.Event()
    client.on(messages.STARTED, lambda *_: started.set())
    client.on(messages.CLOSED, lambda *_: closed.set())
    client.connect(url, socketio_path=messages.PATH, transports=["websocket"])
    client.emit(messages.START, {"sampleRate": RATE})
    started.wait()
    began = time.monotonic()
    for number, pcm in enumerate(source):
        if wait_s := due_s(began, number, paced=paced):
            time.sleep(wait_s)
        client.emit(messages.CHUNK, payload(pcm))
        client.eio.queue.join()
    client.emit(messages.STOP)
    closed.wait()
    client.disconnect()


async def stream(way: str, path: str, url: str, *, paced: bool) -> None:
    """Stream one file on this event loop; with `threads`, in its own thread."""
    if way == "threads":
        done = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def work() -> None:
            with_sync(chunks(path), url, paced=paced)
            loop.call_soon_threadsafe(done.set_result, None)

        threading.Thread(target=work, daemon=True).start()
        await done
    else:
        await with_async(chunks_of_ffmpeg(path) if way == "ffmpeg" else chunks(path), url, paced=paced)


def main(way: str, url: str, paths: list[str]) -> None:
    audio_s = sum(soundfile.info(path).duration for path in paths)
    began, started = time.monotonic(), cpu_s()
    if way == "threads":
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda path: with_sync(chunks(path), url), paths))
    else:
        for path in paths:
            asyncio.run(stream(way, path, url, paced=False))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = cpu_s() - started + children.ru_utime + children.ru_stime
    elapsed_s = time.monotonic() - began
    tell({"cpu_s_per_h": used * 3600 / audio_s, "audio_s": audio_s, "files_per_s": len(paths) / elapsed_s})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
