"""Writes containers with several audio tracks, each with its own tags and signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 48000


@dataclass(frozen=True, slots=True)
class TrackFile:
    """A container format. `muxer`: FFmpeg's name of the format. `ending`: the ending of file names. `coding`: codec of
    the audio tracks. `picture`: codec of a video track, if the format needs one."""

    muxer: str
    ending: str
    coding: str
    picture: str | None = None

    def __str__(self) -> str:
        return self.ending


TRACK_FILES = (
    TrackFile("mp4", "mp4", "aac"),
    TrackFile("mov", "mov", "pcm_s16le"),
    TrackFile("matroska", "mkv", "flac"),
    TrackFile("mpegts", "ts", "ac3"),
    TrackFile("ogg", "ogg", "libopus"),
    TrackFile("mxf", "mxf", "pcm_s16le", "mpeg2video"),
)


def write_tracks(
    path: Path,
    signals: Sequence[np.ndarray],
    kind: TrackFile,
    tags: Sequence[dict[str, str]] = (),
    *,
    default: int | None = None,
    starts_s: Sequence[float] = (),
) -> Path:
    """Write each of `signals`, float32[n] at 48 kHz, as a mono track. Returns the path. `tags`: metadata of each track.
    `default`: index (from 0) of the only track with the default flag, or None to leave the flags to the muxer.
    `starts_s`: start of each track in seconds; 0 by default."""
    starts = [round(start_s * RATE) for start_s in starts_s] or [0] * len(signals)
    with av.open(str(path), "w", format=kind.muxer) as container:
        picture = container.add_stream(kind.picture, rate=25) if kind.picture else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        streams = []
        for number in range(len(signals)):
            stream = container.add_stream(kind.coding, rate=RATE)
            stream.codec_context.layout = "mono"
            stream.metadata.update(tags[number] if number < len(tags) else {})
            if default is not None:
                stream.disposition = av.stream.Disposition.default if number == default else 0
            streams.append(stream)
        if picture is not None:
            for number in range(int(max(map(len, signals)) / RATE * 25)):
                image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                image.pts, image.time_base = number, Fraction(1, 25)
                container.mux(picture.encode(image))
            container.mux(picture.encode(None))
        size = streams[0].codec_context.frame_size or 1920
        formats = [stream.codec_context.codec.audio_formats[0] for stream in streams]
        for at in range(0, max(map(len, signals)), size):
            for signal, stream, kind_of_samples, start in zip(signals, streams, formats, starts, strict=True):
                if at >= len(signal):
                    continue
                frame = av.AudioFrame.from_ndarray(signal[None, at : at + size].copy(), format="fltp", layout="mono")
                frame.sample_rate = RATE
                (converted,) = av.AudioResampler(format=kind_of_samples, layout="mono", rate=RATE).resample(frame)
                converted.pts, converted.time_base = start + at, Fraction(1, RATE)
                container.mux(stream.encode(converted))
        for stream in streams:
            container.mux(stream.encode(None))
    return path
