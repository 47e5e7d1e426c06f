"""Writes a signal in formats that libsndfile cannot open, such as m4a, mp4, mkv, webm, wma and amr, with PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


@dataclass(frozen=True, slots=True)
class Media:
    """A container format with an audio codec. `ending`: the ending of file names. `container`, `codec`: names that
    FFmpeg uses. `rate`: in Hz."""

    name: str
    ending: str
    container: str
    codec: str
    rate: int = 48000
    channels: int = 1
    speech_only: bool = False
    """Whether the codec models the human voice and destroys tones."""

    def __str__(self) -> str:
        return self.name


MEDIA = (
    Media("m4a-aac", "m4a", "ipod", "aac", 44100, 2),
    Media("m4a-alac", "m4a", "ipod", "alac", 16000, 1),
    Media("mp4-aac", "mp4", "mp4", "aac", 48000, 1),
    Media("mp4-aac-7.1", "mp4", "mp4", "aac", 48000, 8),
    Media("3gp-amr", "3gp", "3gp", "libopencore_amrnb", 8000, 1, speech_only=True),
    Media("mkv-ac3", "mkv", "matroska", "ac3", 48000, 6),
    Media("mkv-flac", "mkv", "matroska", "flac", 16000, 2),
    Media("mka-pcm24", "mka", "matroska", "pcm_s24le", 96000, 2),
    Media("webm-opus", "webm", "webm", "libopus", 48000, 1),
    Media("wma", "wma", "asf", "wmav2", 44100, 2),
    Media("amr", "amr", "amr", "libopencore_amrnb", 8000, 1, speech_only=True),
    Media("aac", "aac", "adts", "aac", 16000, 1),
    Media("avi-pcm", "avi", "avi", "pcm_s16le", 22050, 1),
    Media("flv-mp3", "flv", "flv", "libmp3lame", 44100, 1),
    Media("ts-aac", "ts", "mpegts", "aac", 48000, 2),
)
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_KINDS = {"s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64, "u8": np.uint8}


def write_media(
    path: Path,
    signal: np.ndarray,
    media: Media,
    *,
    video: bool = False,
    sound: bool = True,
    video_s: float | None = None,
    skip: tuple[int, int] = (0, 0),
) -> Path:
    """Write `signal`, float32[n] at `media.rate`, the same in every channel. Returns the path.

    `video`: add a video track, `video_s` seconds long (None: as long as the signal). `sound`: False for no audio track.
    `skip`: position and number of samples that are not written. The timestamps continue as if these samples were in the
    file.
    """
    with av.open(str(path), "w", format=media.container) as container:
        picture = _picture(container) if video else None
        if sound:
            _write_sound(container, signal, media, skip)
        if picture is not None:
            for number in range(int((video_s or len(signal) / media.rate) * 5)):
                image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 255, np.uint8), format="rgb24")
                image.pts, image.time_base = number, Fraction(1, 5)
                container.mux(picture.encode(image))
            container.mux(picture.encode(None))
    return path


def write_dv(path: Path, signal: np.ndarray) -> Path:
    """Write `signal`, float32[n] at 48 kHz, as the audio of a DV video of 25 frames a second. Returns the path."""
    sound = Media("", "dv", "dv", "pcm_s16le", 48000, 2)
    with av.open(str(path), "w", format="dv") as container:
        picture = container.add_stream("dvvideo", rate=25)
        picture.width, picture.height, picture.pix_fmt = 720, 576, "yuv420p"
        stream = container.add_stream("pcm_s16le", rate=sound.rate)
        stream.codec_context.layout = "stereo"
        size = sound.rate // 25
        for number in range(-(-len(signal) // size)):
            image = av.VideoFrame.from_ndarray(np.zeros((576, 720, 3), np.uint8), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, 25)
            container.mux(picture.encode(image))
            block = signal[number * size : (number + 1) * size]
            frame = _frame(np.pad(block, (0, size - len(block))), stream.codec_context.format, sound)
            frame.pts, frame.time_base = number * size, Fraction(1, sound.rate)
            container.mux(stream.encode(frame))
    return path


def _picture(container: Any) -> Any:
    stream = container.add_stream("mpeg4", rate=5)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _write_sound(container: Any, signal: np.ndarray, media: Media, skip: tuple[int, int]) -> None:
    stream = container.add_stream(media.codec, rate=media.rate)
    coding = stream.codec_context
    coding.layout = _LAYOUTS[media.channels]
    coding.format = kind = coding.codec.audio_formats[0]
    coding.bit_rate = 12_200 if media.speech_only else 128_000
    coding.open()
    size = coding.frame_size or 1024
    at = 0
    while at < len(signal):
        if at <= skip[0] < at + size and skip[1]:
            at += -(-skip[1] // size) * size
        frame = _frame(signal[at : at + size], kind, media)
        frame.pts, frame.time_base = at, Fraction(1, media.rate)
        container.mux(stream.encode(frame))
        at += size
    container.mux(stream.encode(None))


def _frame(block: np.ndarray, kind: Any, media: Media) -> Any:
    name = kind.name.removesuffix("p")
    planar = kind.is_planar and media.channels < 8  # PyAV fails with eight planes; the encoder converts packed samples
    dtype = _KINDS[name]
    if np.issubdtype(dtype, np.integer):
        block = np.round(block * 127 + 128) if name == "u8" else np.round(block * float(np.iinfo(dtype).max))
    samples = block.astype(dtype)
    if block.ndim == 1:
        samples = np.repeat(samples[:, None], media.channels, axis=1)
    data = np.ascontiguousarray(samples.T) if planar else samples.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(data, format=kind.name if planar else name, layout=_LAYOUTS[media.channels])
    frame.sample_rate = media.rate
    return frame
