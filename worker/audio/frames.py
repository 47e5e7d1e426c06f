"""PCM frames as they travel: signed 16 bit, little-endian, mono, of equal length but for the last."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from worker.audio.decoding.downmix import Pcm16
from worker.audio.decoding.downmix import Samples as Samples  # noqa: PLC0414  others name it from here
from worker.audio.resample import resample_blocks
from worker.audio.source import Audio

BYTES_PER_SAMPLE: Final = 2
SILENT_DBFS: Final = -120.0
"""The level told for digital silence."""

_FULL_SCALE: Final = np.float32(32768)


def to_pcm16(block: Samples | Pcm16) -> Pcm16:
    """float32[n], full scale 1.0 -> int16[n] ('<i2'), rounded, clipped at full scale. int16 is passed on as it is."""
    if block.dtype == np.int16:
        return block.astype("<i2", copy=False)
    scaled = block * _FULL_SCALE
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype("<i2")


def pcm_frames(
    blocks: Iterable[Samples | Pcm16], frame_samples: int, first_samples: int | None = None
) -> Iterator[bytes]:
    """Mono blocks of any length -> frames of `frame_samples` samples (2 bytes each), the last one shorter, and the
    first one too where it is to have `first_samples`.

    No frame is empty, and none holds back more than one block. ValueError for frame_samples below 1.
    """
    if frame_samples < 1:
        raise ValueError(f"frame_samples must be at least 1, not {frame_samples}")
    wanted = (first_samples or frame_samples) * BYTES_PER_SAMPLE
    rest = b""
    for block in blocks:
        if not len(block):  # has no bytes to view
            continue
        pcm = to_pcm16(block).data.cast("B")
        at = 0
        while len(rest) + len(pcm) - at >= wanted:
            end = at + wanted - len(rest)
            yield rest + pcm[at:end]
            rest, at, wanted = b"", end, frame_samples * BYTES_PER_SAMPLE
        rest += pcm[at:]
    if rest:
        yield rest


def wire_frames(
    source: Audio,
    sample_rate: int,
    frame_samples: int,
    start_s: float = 0.0,
    *,
    first_samples: int | None = None,
    block_s: float | None = None,
) -> Iterator[bytes]:
    """The source from `start_s` (seconds) to its end, as PCM frames at `sample_rate` Hz: decode, resample, cut.

    The first sample sent stands at the source's sample nearest to `start_s`. Raises DamagedSource when nothing can
    be decoded. One channel of 16 bits at `sample_rate` goes out as it is in the file. `block_s`: seconds to decode and
    resample at a time, a frame if not given; `first_samples`: see `pcm_frames`.
    """
    rate = source.info.sample_rate
    start, block_s = round(start_s * rate), block_s or frame_samples / sample_rate
    if rate == sample_rate:
        return pcm_frames(source.stored_blocks(start, block_s), frame_samples, first_samples)
    return pcm_frames(resample_blocks(source.blocks(start, block_s), rate, sample_rate), frame_samples, first_samples)


def level_dbfs(frame: bytes) -> float:
    """RMS level of a PCM frame in dB relative to full scale (a full-scale square wave is 0); silence is SILENT_DBFS."""
    if not frame:
        return SILENT_DBFS
    samples = np.frombuffer(frame, dtype="<i2").astype(np.float32)
    power = float(np.dot(samples, samples)) / len(samples)
    if power <= 0:
        return SILENT_DBFS
    return max(SILENT_DBFS, 10 * math.log10(power / float(_FULL_SCALE) ** 2))
