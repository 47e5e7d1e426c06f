"""Writes media files with chosen timestamps, and files whose sample format changes in the middle."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

_VIDEO_CODECS = {"mpegts": "mpeg2video", "mpeg": "mpeg2video", "webm": "libvpx", "flv": "flv"}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def write_timed(
    path: Path,
    signal: np.ndarray,
    *,
    container: str,
    codec: str,
    rate: int = 44100,
    channels: int = 1,
    time: Callable[[float], float | None] = lambda at: at,
    video_s: float = 0.0,
    options: dict[str, str] | None = None,
    stream_id: int | None = None,
) -> Path:
    """Write `signal`, float32[n], with chosen timestamps. Returns the path.

    The signal is encoded without gaps. `time` maps the start of a packet in the signal to the packet's timestamp, both
    in seconds; a packet for which it returns None is not written. `container`, `codec`: FFmpeg's names. `video_s`:
    length in seconds of an additional video track from time 0, or 0 for none. `options`: of the container.
    """
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        picture = _picture(output) if video_s else None
        stream = output.add_stream(codec, rate=rate)
        if stream_id is not None:
            stream.id = stream_id
        coding = stream.codec_context
        coding.layout = _LAYOUTS[channels]
        coding.format = coding.codec.audio_formats[0]
        coding.bit_rate = 128_000
        coding.open()
        images = _images(picture, video_s) if picture is not None else iter(())
        for packet in _packets(stream, signal, rate, channels):
            start_s = time(float(packet.pts * packet.time_base))
            if start_s is None:
                continue
            # Write the images up to the time of the packet first, so that both tracks are interleaved.
            for at_s, image in images:
                output.mux(image)
                if at_s >= start_s:
                    break
            packet.pts = packet.dts = round(start_s / packet.time_base)
            output.mux(packet)
        for _, image in images:
            output.mux(image)
    return path


def _packets(stream: Any, signal: np.ndarray, rate: int, channels: int) -> Iterator[Any]:
    coding = stream.codec_context
    size = coding.frame_size or 960
    joiner = av.AudioResampler(format=coding.format, layout=coding.layout, rate=rate)
    for at in range(0, len(signal), size):
        block = np.repeat(signal[at : at + size, None], channels, axis=1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block, np.float32), format="flt", layout=coding.layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        for joined in joiner.resample(frame):
            joined.pts, joined.time_base = at, Fraction(1, rate)
            yield from stream.encode(joined)
    yield from stream.encode(None)


def _picture(output: Any) -> Any:
    stream = output.add_stream(_VIDEO_CODECS.get(output.format.name, "mpeg4"), rate=25)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _images(stream: Any, seconds: float) -> Iterator[tuple[float, Any]]:
    for number in range(round(seconds * 25) + 1):
        image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 255, np.uint8), format="rgb24")
        image.pts, image.time_base = number, Fraction(1, 25)
        for packet in stream.encode(image if number < round(seconds * 25) else None):
            yield number / 25, packet


# -- MP4 with two sample descriptions --------------------------------------------------------------------------------
def _box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def _find(data: bytes, *names: bytes) -> bytes:
    """Return the content of the MP4 box at a path. `names`: names of the boxes on the path, from the outermost on."""
    for name in names:
        at = 0
        while data[at + 4 : at + 8] != name:
            at += int.from_bytes(data[at : at + 4], "big")
        data = data[at + 8 : at + int.from_bytes(data[at : at + 4], "big")]
    return data


def mp4_of_two(first: bytes, second: bytes, rates: tuple[int, int]) -> bytes:
    """Return an MP4 file with one audio track that has the samples of the MP4 file `first`, then those of `second`.

    Each half has its own sample description. `rates`: sample rate of each file in Hz. Packets must have 1,024 samples,
    as in AAC.
    """
    timescale, files = max(rates), (first, second)
    tables = [_find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl") for data in files]
    sizes = [_find(table, b"stsz")[12:] for table in tables]
    counts = [len(size) // 4 for size in sizes]
    spans = [1024 * timescale // rate for rate in rates]
    entries = [_find(table, b"stsd")[8:] for table in tables]
    media = [_find(data, b"mdat") for data in files]
    head = _box(b"ftyp", b"isom", bytes(4), b"isom")
    starts = (len(head) + 8, len(head) + 8 + len(media[0]))
    length = sum(count * span for count, span in zip(counts, spans, strict=True))
    table = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 2), *entries),
        _box(b"stts", struct.pack(">6I", 0, 2, counts[0], spans[0], counts[1], spans[1])),
        _box(b"stsc", struct.pack(">8I", 0, 2, 1, counts[0], 1, 2, counts[1], 2)),
        _box(b"stsz", struct.pack(">3I", 0, 0, sum(counts)), *sizes),
        _box(b"stco", struct.pack(">4I", 0, 2, *starts)),
    )
    unity = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    place = struct.pack(">6I", 7, 0, 0, 1, 0, length) + bytes(8) + struct.pack(">4H", 0, 0, 0x100, 0)
    track = _box(
        b"trak",
        _box(b"tkhd", place, unity, bytes(8)),
        _box(
            b"mdia",
            _box(b"mdhd", struct.pack(">5IHH", 0, 0, 0, timescale, length, 0x55C4, 0)),
            _box(b"hdlr", bytes(8), b"soun", bytes(13)),
            _box(
                b"minf",
                _box(b"smhd", bytes(8)),
                _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1)))),
                table,
            ),
        ),
    )
    times = struct.pack(">5IIH", 0, 0, 0, timescale, length, 0x10000, 0x100)
    header = _box(b"mvhd", times, bytes(10), unity, bytes(24), struct.pack(">I", 2))
    return head + _box(b"mdat", *media) + _box(b"moov", header, track)


# -- Ogg -------------------------------------------------------------------------------------------------------------
def ogg_pages(data: bytes) -> list[bytes]:
    """Split an Ogg file into its pages."""
    pages, at = [], 0
    while at < len(data):
        length = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        pages.append(data[at : at + length])
        at += length
    return pages


def ogg_checksum(page: bytes) -> bytes:
    """Compute the checksum of an Ogg page (RFC 3533), bit by bit. The page's own checksum field is counted as 0."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return crc.to_bytes(4, "little")


def ogg_shifted(data: bytes, shift: Callable[[int, int], int]) -> bytes:
    """Return the Ogg file `data` with changed granule positions, which are the timestamps of its pages. The page n with
    position g > 0 gets the position g + shift(n, g); n counts these pages from 0."""
    out, number = [], 0
    for page in ogg_pages(data):
        granule, moved = int.from_bytes(page[6:14], "little", signed=True), page
        if granule > 0:
            moved = page[:6] + (granule + shift(number, granule)).to_bytes(8, "little", signed=True) + page[14:]
            moved = moved[:22] + ogg_checksum(moved) + moved[26:]
            number += 1
        out.append(moved)
    return b"".join(out)
