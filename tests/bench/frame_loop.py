"""The minimum work of a live session: a loop that encodes frames in base64 and writes them to a websocket in time.

`stream` has no decoder, see `tests.bench.frame_cost`. `stream_decoded` decodes the file meanwhile, see
`tests.bench.live`. Neither has a state machine, a timeline or a listener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache

import aiohttp
import pybase64
import soundfile

from tests.bench import floors
from worker.realtime import messages
from worker.settings import load

BLOCK_S = 0.25  # the blocks of a live session of the product


@lru_cache(maxsize=1)
def _frames(path: str, frame_samples: int) -> tuple[bytes, ...]:
    """Return the frames of a 16 kHz mono file. All sessions of a process share them."""
    with soundfile.SoundFile(path) as file:
        pcm = file.read(dtype="int16").astype("<i2").tobytes()
    size = frame_samples * 2
    return tuple(pcm[at : at + size] for at in range(0, len(pcm), size))


async def stream(path: str, url: str, count: Callable[[], None]) -> None:
    """Send a file of 16 kHz mono at real time. Calls `count` after each frame."""
    settings = load({"STT_URL": url, "STT_API_KEY": "bench"})
    frames = _frames(path, int(settings.frame_s * settings.sample_rate))
    await _send(frames, url, settings.sample_rate, settings.frame_s, count)


async def stream_decoded(path: str, url: str) -> None:
    """Send a file at real time, and decode, mix and resample it in blocks of a quarter of a second."""
    settings = load({"STT_URL": url, "STT_API_KEY": "bench"})
    frames = floors.frames(floors.Source(path, BLOCK_S), settings.frame_s)
    await _send(frames, url, floors.RATE, settings.frame_s, lambda: None)


async def _send(frames: Iterable[bytes], url: str, rate: int, frame_s: float, count: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    address = f"{url}{messages.PATH}/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
        await socket.receive()
        begin = f'42["{messages.CHUNK}",{{"audio_base_64":"'.encode()
        end = f'","sample_rate":{rate}}}]'.encode()
        began = loop.time()
        for number, frame in enumerate(frames):
            await asyncio.sleep(max(0.0, began + number * frame_s - loop.time()))
            await socket.send_frame(begin + pybase64.b64encode(frame) + end, aiohttp.WSMsgType.TEXT)
            count()
