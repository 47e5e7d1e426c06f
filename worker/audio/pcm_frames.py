"""Cuts audio into the PCM frames that are sent to the service: signed 16 bit, little-endian, mono. Only the last frame
may be shorter. The wire rate is the sample rate of these frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from worker.audio.decoding.downmix import Pcm16
from worker.audio.decoding.downmix import Samples as Samples  # noqa: PLC0414  imported from here by other modules
from worker.audio.resample import resample_blocks
from worker.audio.source import Audio

BYTES_PER_SAMPLE: Final = 2
_FULL_SCALE: Final = np.float32(32768)


def to_pcm16(block: Samples | Pcm16) -> Pcm16:
    """Convert float32[n] (full scale 1.0) to int16[n] ('<i2'), rounded and clipped. int16 input is returned
    unchanged."""
    if block.dtype == np.int16:
        return block.astype("<i2", copy=False)
    scaled = block * _FULL_SCALE
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype("<i2")


def pcm_frames(
    blocks: Iterable[Samples | Pcm16], frame_samples: int, first_samples: int | None = None
) -> Iterator[bytes]:
    """Cut mono blocks of any length into frames of `frame_samples` samples (2 bytes each).

    If `first_samples` is given, the first frame has that number of samples. The last frame may be shorter. No frame is
    empty. A frame is yielded as soon as the block with its last sample arrives. Raises ValueError for `frame_samples`
    below 1.
    """
    if frame_samples < 1:
        raise ValueError(f"frame_samples must be at least 1, not {frame_samples}")
    wanted = (first_samples or frame_samples) * BYTES_PER_SAMPLE
    rest = b""
    for block in blocks:
        if not len(block):  # an empty array cannot be cast to bytes
            continue
        pcm = to_pcm16(block).data.cast("B")
        at, ready = 0, []
        while len(rest) + len(pcm) - at >= wanted:
            end = at + wanted - len(rest)
            ready.append(rest + pcm[at:end])
            rest, at, wanted = b"", end, frame_samples * BYTES_PER_SAMPLE
        rest += pcm[at:]
        # A live session waits before it asks for the next frame. Meanwhile no generator of its audio may refer to a
        # block: that would take 230 KB of memory for a session of 44.1 kHz stereo FLAC, and 15 KB for 16 kHz WAV.
        del block, pcm
        ready.reverse()
        while ready:
            yield ready.pop()
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
    """Yield the PCM frames of the source from `start_s` (seconds) to its end. The source is decoded, resampled to
    `sample_rate` Hz and cut into frames.

    The first sample is the source's sample nearest to `start_s`. The samples of a 16-bit mono source with the rate
    `sample_rate` are not changed. `frame_samples`, `first_samples`: see `pcm_frames`. `block_s`: seconds to decode and
    resample at a time, by default one frame. Raises DamagedSource if nothing can be decoded.
    """
    rate = source.info.sample_rate
    start, block_s = round(start_s * rate), block_s or frame_samples / sample_rate
    if rate == sample_rate:
        return pcm_frames(source.stored_blocks(start, block_s), frame_samples, first_samples)
    return pcm_frames(resample_blocks(source.blocks(start, block_s), rate, sample_rate), frame_samples, first_samples)
