"""Measures the cost of each stage alone, without our code, in s/h: `python -m tests.bench.floors FILE URL`.

The sum of these costs is the lower limit for a client in one thread with these libraries. No client reaches it: each
stage runs alone, with its data in the processor's cache, and sends to a sink that is always awake. `interleaved` is the
cost of a loop that runs the same stages block by block, as a client must.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import av
import numpy as np
import pybase64
import soundfile
import soxr
import uvloop

from tests.bench.machine import cpu_s, tell
from worker.realtime import messages

RATE = 16000
FRAME_S = 1.0


BLOCK_S = 4.0
PIECE_S = 60.0  # length of the audio with which the stages after decoding are measured repeatedly
REPEATS = 9


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that does not seek after each read. The library's own class does seek."""

    def seekable(self) -> bool:
        return False


def cost(work: Callable[[], Any], audio_s: float) -> tuple[float, Any]:
    """Return the median cost of `work` on `audio_s` seconds of audio, in s/h, and its result."""
    costs = []
    for _ in range(REPEATS):
        began = cpu_s()
        result = work()
        costs.append((cpu_s() - began) * 3600 / audio_s)
    return statistics.median(costs), result


class Source:
    def __init__(self, path: str, block_s: float = BLOCK_S) -> None:
        self._file = _Forward(path)
        self.rate, self.channels = self._file.samplerate, self._file.channels
        self._dtype = "int16" if self._file.subtype in ("PCM_16", "ULAW", "ALAW") else "float32"
        self._buffer = np.empty((round(self.rate * block_s), self.channels), self._dtype)
        self.frames = 0

    def read(self) -> np.ndarray:
        """Return the next block, in a reused buffer."""
        frames = self._file.buffer_read_into(self._buffer, self._dtype)
        self.frames += frames
        return self._buffer[:frames]

    def to_the_end(self) -> None:
        while len(self.read()):
            pass


class MediaSource:
    """A file that FFmpeg decodes: libsndfile cannot read AAC, and takes three times as long for Opus."""

    def __init__(self, path: str) -> None:
        container = av.open(path)
        stream = container.streams.audio[0]
        self.rate, self.channels = stream.rate, stream.channels
        self._decoded = container.decode(stream)
        self.frames = 0

    def read(self) -> np.ndarray:
        """Return the next block."""
        planes, count = [np.zeros((self.channels, 0), np.float32)], 0
        while count < self.rate * BLOCK_S and (frame := next(self._decoded, None)) is not None:
            planes.append(frame.to_ndarray())
            count += frame.samples
        self.frames += count
        return np.concatenate(planes, axis=1).T

    def to_the_end(self) -> None:
        for frame in self._decoded:
            self.frames += len(frame.to_ndarray()[0])


def open_source(path: str) -> Source | MediaSource:
    return MediaSource(path) if path.endswith((".m4a", ".opus")) else Source(path)


def downmix(blocks: list[np.ndarray]) -> list[np.ndarray]:
    channels = blocks[0].shape[1]
    scale = 1 / 32768 if blocks[0].dtype == np.int16 else 1.0
    weights = np.full(channels, scale / channels, np.float32)
    if channels == 1:
        return [np.multiply(block[:, 0], weights[0], dtype=np.float32) for block in blocks]
    return [np.dot(block.astype(np.float32, copy=False), weights) for block in blocks]


def resample(blocks: list[np.ndarray], rate: int) -> list[np.ndarray]:
    if rate == RATE:
        return blocks
    stream = soxr.ResampleStream(rate, RATE, 1, "float32", "HQ")
    return [stream.resample_chunk(block) for block in blocks]


def to_int16(blocks: list[np.ndarray]) -> list[bytes]:
    return [np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2").tobytes() for block in blocks]


def encode(frames: list[bytes]) -> list[str]:
    return [pybase64.b64encode_as_string(frame) for frame in frames]


async def send(url: str, texts: list[str]) -> float:
    """Return the CPU seconds that it takes to send messages over a raw websocket. Each message is written completely
    before the next one."""
    ready = [f'42["{messages.CHUNK}",{{"audio_base_64":"{text}","sample_rate":{RATE}}}]' for text in texts]
    address = f"{url}{messages.PATH}/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
        await socket.receive()
        began = cpu_s()
        for _ in range(REPEATS):
            for text in ready:
                await socket.send_str(text)
        return (cpu_s() - began) / REPEATS


def frames(source: Source | MediaSource, frame_s: float) -> Iterator[bytes]:
    """Decode, mix and resample block by block, and yield frames of `frame_s` seconds."""
    stream = None if source.rate == RATE else soxr.ResampleStream(source.rate, RATE, 1, "float32", "HQ")
    size, rest = round(frame_s * RATE) * 2, b""
    while len(block := source.read()):
        if stream is None and source.channels == 1 and block.dtype == np.int16:
            rest += block.tobytes()
        else:
            mono = downmix([block])[0]
            rest += to_int16([mono if stream is None else stream.resample_chunk(mono)])[0]
        for at in range(0, len(rest) - size + 1, size):
            yield rest[at : at + size]
        rest = rest[len(rest) - len(rest) % size :]


async def interleaved(path: str, url: str) -> float:
    """Return the CPU seconds per hour of audio of a loop over all stages, block by block."""
    source = open_source(path)
    address = f"{url}{messages.PATH}/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
        await socket.receive()
        began = cpu_s()
        for frame in frames(source, FRAME_S):
            text = pybase64.b64encode_as_string(frame)
            await socket.send_str(f'42["{messages.CHUNK}",{{"audio_base_64":"{text}","sample_rate":{RATE}}}]')
        return (cpu_s() - began) * 3600 * source.rate / source.frames


def main(path: str, url: str) -> None:
    source = open_source(path)
    blocks = [source.read().copy() for _ in range(round(PIECE_S / BLOCK_S))]
    piece_s = sum(map(len, blocks)) / source.rate
    before = source.frames
    began = cpu_s()
    source.to_the_end()
    stages = {"decode": (cpu_s() - began) * 3600 * source.rate / (source.frames - before)}
    if source.rate == RATE and source.channels == 1 and blocks[0].dtype == np.int16:  # already the wire format
        pcm = [block.tobytes() for block in blocks]
    else:
        stages["downmix"], mono = cost(lambda: downmix(blocks), piece_s)
        stages["resample"], wire = cost(lambda: resample(mono, source.rate), piece_s)
        stages["int16"], pcm = cost(lambda: to_int16(wire), piece_s)
    whole = b"".join(pcm)
    size = round(FRAME_S * RATE) * 2
    frames = [whole[at : at + size] for at in range(0, len(whole), size)]
    stages["base64"], texts = cost(lambda: encode(frames), piece_s)
    stages["send"] = uvloop.run(send(url, texts)) * 3600 / piece_s
    tell({"stages": stages, "sum": sum(stages.values()), "interleaved": uvloop.run(interleaved(path, url))})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
