"""Measures the stages in CPU-seconds per hour of audio: `pytest -m bench -s tests/unit/audio/test_cost.py`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.downmix import Downmix
from worker.audio.pcm_frames import pcm_frames, wire_frames
from worker.audio.resample import resample_blocks

pytestmark = pytest.mark.bench
MINUTES = 10
RESAMPLE_S_PER_H = 0.8
"""CPU seconds to resample an hour from 44.1 to 16 kHz on the slowest machine for which the limits hold unchanged."""


def cost(stage: Iterable[object]) -> float:
    """CPU-seconds of all threads per hour of audio, to consume `stage`."""
    began = time.process_time()
    for _ in stage:
        pass
    return (time.process_time() - began) * 60 / MINUTES


def slowness() -> float:
    """Return how much slower this machine is than the one of the limits, at least 1: a virtual machine that shares its
    processor can need twice the CPU time an hour later. Measured with a stage that is not our code."""
    sound = np.random.default_rng(0).standard_normal(44100 * 60).astype(np.float32)
    return max(1.0, cost(soxr.resample(sound, 44100, 16000) for _ in range(MINUTES)) / RESAMPLE_S_PER_H)


# Limits in CPU seconds per hour of audio, with room for machines that are a third slower than the one of the figures in
# the documentation. On slower machines, they are multiplied.
@pytest.mark.parametrize(
    ("coding", "rate", "channels", "limit"),
    [
        (audiofiles.FLAC, 44100, 2, 10.5),
        (audiofiles.MP3, 44100, 2, 10.5),
        (audiofiles.VORBIS, 44100, 2, 15.0),
        (audiofiles.WAV, 44100, 2, 4.0),
        (audiofiles.FLAC, 16000, 1, 4.0),
        (audiofiles.WAV, 16000, 1, 0.6),
        (audiofiles.MULAW, 8000, 1, 1.5),
    ],
    ids=str,
)
def test_decoding_and_resampling_stay_within_their_cpu_limit(
    tmp_path: Path, coding: Coding, rate: int, channels: int, limit: float
) -> None:
    minute = tones.encode(tones.speech(60), rate, duration_s=60)
    path = audiofiles.write_blocks(tmp_path / f"a.{coding.ending}", [minute] * MINUTES, rate, coding, channels)
    slow = slowness()
    with open_source(path) as source:
        decode = cost(source.blocks())
        blocks = list(source.blocks())
        resample = cost(resample_blocks(blocks, rate, 16000))
        wire = list(resample_blocks(blocks, rate, 16000))
        frames = cost(pcm_frames(wire, 4000))
        whole = cost(wire_frames(source, 16000, 4000))
    sys.stdout.write(
        f"{coding} {rate} Hz {channels} ch: decode and downmix {decode:.2f}, resample {resample:.2f}, "
        f"frames {frames:.2f}, all {whole:.2f} s/h; machine {slow:.2f} times slower\n"
    )
    assert whole < limit * slow


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_mixing_planes_costs_no_more_than_mixing_interleaved_samples(dtype: type[np.int16] | type[np.float32]) -> None:
    """FFmpeg gives planes. A copy to interleaved samples would take twice the time."""
    second = (np.random.default_rng(0).uniform(-0.5, 0.5, (44100, 2)) * (32768 if dtype is np.int16 else 1)).astype(
        dtype
    )

    def mixing(frames: npt.NDArray[Any]) -> float:
        mixer = Downmix(2, dtype, sys.stderr.write, 44100)
        return cost(mixer.push(frames) for _ in range(MINUTES * 60))

    planes = np.asfortranarray(second)
    ratios = [mixing(planes) / mixing(second) for _ in range(5)]
    assert min(ratios) < 1.5, ratios
