from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.audio.resample import StreamResampler, resample_blocks, resampled_length

RATES = [8000, 11025, 12345, 16000, 22050, 44100, 48000, 96000]


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.2).astype(np.float32)


def in_blocks(signal: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    blocks, at, turn = [], 0, 0
    while at < len(signal):
        size = sizes[turn % len(sizes)]
        blocks.append(signal[at : at + size])
        at, turn = at + size, turn + 1
    return blocks


def joined(blocks) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.concatenate([np.zeros(0, np.float32), *blocks])


@settings(max_examples=60, deadline=None)
@given(
    in_rate=st.sampled_from(RATES),
    out_rate=st.sampled_from([8000, 16000, 48000]),
    samples=st.integers(0, 30_000),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=5),
)
def test_any_block_sizes_equal_one_call(in_rate: int, out_rate: int, samples: int, sizes: list[int]) -> None:
    if max(sizes) < 50:
        samples = min(samples, 2000)
    signal = noise(samples)
    whole = joined(resample_blocks([signal], in_rate, out_rate))
    parts = joined(resample_blocks(in_blocks(signal, sizes), in_rate, out_rate))
    assert len(whole) == resampled_length(samples, in_rate, out_rate)
    np.testing.assert_array_equal(parts, whole)


def test_equal_rates_return_the_same_block() -> None:
    resampler = StreamResampler(16000, 16000)
    block = noise(100)
    assert resampler.process(block) is block
    assert len(resampler.flush()) == 0


@pytest.mark.parametrize("in_rate", [8000, 44100, 48000])
def test_a_tone_keeps_its_position(in_rate: int) -> None:
    t = np.arange(in_rate, dtype=np.float64) / in_rate
    signal = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    out = joined(resample_blocks(in_blocks(signal, [1000]), in_rate, 16000))
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(out[1000:-1000], expected[1000:-1000], atol=1e-4)


def test_a_flushed_resampler_accepts_another_signal() -> None:
    resampler = StreamResampler(44100, 16000)
    first = joined([resampler.process(noise(5000)), resampler.flush()])
    again = joined([resampler.process(noise(5000)), resampler.flush()])
    np.testing.assert_array_equal(first, again)


def test_an_empty_signal_stays_empty() -> None:
    assert list(resample_blocks([], 8000, 16000)) == []
    assert len(StreamResampler(8000, 16000).flush()) == 0


@pytest.mark.parametrize("rates", [(0, 16000), (16000, 0), (-8000, 16000)])
def test_rates_must_be_positive(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        StreamResampler(*rates)
