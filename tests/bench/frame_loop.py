"""The minimum work of a live session: a loop that encodes frames in base64 and writes them to a websocket in time.

It has no decoder, no state machine, no timeline and no listener. See `tests.bench.frame_cost`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache

import aiohttp
import pybase64
import soundfile

from worker.realtime import messages
from worker.settings import load


@lru_cache(maxsize=1)
def _frames(path: str, frame_samples: int) -> tuple[bytes, ...]:
    """Return the frames of a 16 kHz mono file. All sessions of a process share them."""
    with soundfile.SoundFile(path) as file:
        pcm = file.read(dtype="int16").astype("<i2").tobytes()
    size = frame_samples * 2
    return tuple(pcm[at : at + size] for at in range(0, len(pcm), size))


async def stream(path: str, url: str, count: Callable[[], None] = lambda: None) -> None:
    """Send the file at real time. Calls `count` after each frame."""
    settings = load({"STT_URL": url, "STT_API_KEY": "bench"})
    rate, frame_s = settings.sample_rate, settings.frame_s
    loop = asyncio.get_running_loop()
    address = f"{url}{messages.PATH}/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
        await socket.receive()
        begin = f'42["{messages.CHUNK}",{{"audio_base_64":"'.encode()
        end = f'","sample_rate":{rate}}}]'.encode()
        began = loop.time()
        for number, frame in enumerate(_frames(path, int(frame_s * rate))):
            await asyncio.sleep(max(0.0, began + number * frame_s - loop.time()))
            await socket.send_frame(begin + pybase64.b64encode(frame) + end, aiohttp.WSMsgType.TEXT)
            count()
