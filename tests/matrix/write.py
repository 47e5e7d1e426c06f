"""Writes one file of the matrix: a signal in a container and codec, by PyAV, ffmpeg, sox or libsndfile."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from tests.matrix.kinds import Coding, Container

_LAYOUTS = {1: "mono", 2: "stereo"}
_PICTURES_PER_S = 25
_BIT_RATES = {"libopencore_amrnb": 12_200, "g726": 32_000, "g726le": 32_000, "eac3": 192_000}


class Pipe:
    """A file object that cannot seek, so that a header never declares the final length."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


def write(
    path: Path,
    signal: np.ndarray,
    container: Container,
    coding: Coding,
    *,
    rate: int | None = None,
    late_s: float = 0.0,
    hole: tuple[int, float] | None = None,
    piped: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write float32[n]. `late_s`: start of the audio in seconds; the picture starts at 0. `hole`: (sample, seconds).
    From this sample on, all times are later by these seconds. `piped`: write to a file that cannot seek."""
    rate = rate or coding.rate
    if container.tool == "sndfile":
        samples = np.repeat(signal[:, None], coding.channels, axis=1)
        with soundfile.SoundFile(
            path, "w", rate, coding.channels, coding.encoder, format=container.ending.upper()
        ) as file:
            for at in range(0, len(samples), rate):
                file.write(samples[at : at + rate])
    elif container.tool == "sox":
        _sox(path, signal, container, coding, rate)
    elif container.tool == "ffmpeg":
        _ffmpeg(path, signal, container, coding, rate)
    else:
        _pyav(path, signal, container, coding, rate, late_s, hole, piped, {**container.options, **(options or {})})
    return path


def _sox(path: Path, signal: np.ndarray, container: Container, coding: Coding, rate: int) -> None:
    name = coding.encoder
    if name[0] in "su" and name[1:].isdecimal():
        kind = ["-e", "signed" if name[0] == "s" else "unsigned", "-b", name[1:]]
    elif name in ("mp3", "libvorbis"):
        kind = []
    else:
        kind = ["-e", name]
    _run(_wave(path, signal, coding, rate), ["sox", "-V0", "INPUT", "-t", container.ending, *kind, path])


def _ffmpeg(path: Path, signal: np.ndarray, container: Container, coding: Coding, rate: int) -> None:
    command = ["ffmpeg", "-v", "error", "-y", "-i", "INPUT", "-c:a", coding.encoder, "-strict", "-2"]
    _run(_wave(path, signal, coding, rate), [*command, "-f", container.muxer, path])


def _wave(path: Path, signal: np.ndarray, coding: Coding, rate: int) -> Path:
    wave = path.with_name(f"{path.name}.input.wav")
    soundfile.write(wave, np.repeat(signal[:, None], coding.channels, axis=1), rate, "PCM_16")
    return wave


def _run(wave: Path, command: list[Any]) -> None:
    try:
        subprocess.run([wave if word == "INPUT" else word for word in command], check=True, capture_output=True)
    finally:
        wave.unlink()


def _pyav(
    path: Path,
    signal: np.ndarray,
    container: Container,
    coding: Coding,
    rate: int,
    late_s: float,
    hole: tuple[int, float] | None,
    piped: bool,
    options: dict[str, str],
) -> None:
    target: Any = Pipe(path) if piped else str(path)
    with av.open(target, "w", format=container.muxer, options=options) as file:
        picture = None
        if container.must_picture or (late_s and container.picture):
            picture = file.add_stream(container.picture, rate=_PICTURES_PER_S)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        sound = file.add_stream(coding.encoder, rate=rate)
        context = sound.codec_context
        context.layout = _LAYOUTS[coding.channels]
        context.format = context.codec.audio_formats[0]
        context.bit_rate = _BIT_RATES.get(coding.encoder, 128_000)
        context.options = {"strict": "-2"}
        context.open()
        if picture is not None:
            for number in range(int((len(signal) / rate + late_s) * _PICTURES_PER_S)):
                image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 255, np.uint8), format="rgb24")
                image.pts, image.time_base = number, Fraction(1, _PICTURES_PER_S)
                file.mux(picture.encode(image))
            file.mux(picture.encode(None))
        for frame in _frames(signal, context, coding, rate, round(late_s * rate), hole):
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    if piped:
        target.close()


def _frames(
    signal: np.ndarray, context: Any, coding: Coding, rate: int, shift: int, hole: tuple[int, float] | None
) -> Iterator[Any]:
    size = context.frame_size or 1024
    convert = av.AudioResampler(format=context.format, layout=context.layout, rate=rate)
    for at in range(0, len(signal), size):
        block = signal[at : at + size]
        if hole is not None and at >= hole[0]:
            shift, hole = shift + round(hole[1] * rate), None
        planes = np.ascontiguousarray(np.repeat(block[None, :], coding.channels, axis=0))
        given = av.AudioFrame.from_ndarray(planes, format="fltp", layout=_LAYOUTS[coding.channels])
        given.sample_rate = rate
        for frame in convert.resample(given):
            frame.pts, frame.time_base = at + shift, Fraction(1, rate)
            yield frame
