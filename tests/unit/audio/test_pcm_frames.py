from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.audiofiles import FLAC, WAV, write_signal
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import Samples, pcm_frames, to_pcm16, wire_frames
from worker.audio.resample import resample_blocks


def noise(samples: int, seed: int = 0, amplitude: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * amplitude).astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(
    samples=st.integers(0, 5000),
    sizes=st.lists(st.integers(0, 1700), min_size=1, max_size=6).filter(any),
    frame_samples=st.integers(1, 900),
    first_samples=st.none() | st.integers(1, 1800),
)
def test_frames_do_not_depend_on_the_block_lengths(
    samples: int, sizes: list[int], frame_samples: int, first_samples: int | None
) -> None:
    signal = noise(samples)
    blocks, at = [], 0
    while at < samples:
        for size in sizes:
            blocks.append(signal[at : at + size])
            at += size
    frames = list(pcm_frames(blocks, frame_samples, first_samples))
    assert frames == list(pcm_frames([signal], frame_samples, first_samples))
    assert b"".join(frames) == to_pcm16(signal).tobytes()
    if first_samples is not None and frames:
        assert len(frames[0]) == 2 * min(first_samples, samples)
        frames = frames[1:]
    assert all(len(f) == 2 * frame_samples for f in frames[:-1])
    assert all(0 < len(f) <= 2 * frame_samples for f in frames[-1:])


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_16_bit_sources_are_sent_unchanged(values: list[int]) -> None:
    samples = np.array(values, dtype=np.float32) / np.float32(32768)
    assert to_pcm16(samples).tolist() == values


@settings(deadline=None)
@given(st.lists(st.floats(-1.0, 32767 / 32768, width=32), max_size=50))
def test_the_round_trip_is_within_half_a_step(values: list[float]) -> None:
    samples = np.array(values, dtype=np.float32)
    back = np.frombuffer(b"".join(pcm_frames([samples], 7)), dtype="<i2") / 32768
    np.testing.assert_allclose(back, samples, atol=0.5 / 32768 + 1e-9)


def test_over_full_scale_is_clipped_not_wrapped() -> None:
    over = np.array([1.0, 1.5, 16.0, -1.0, -1.00001, -16.0], dtype=np.float32)
    assert to_pcm16(over).tolist() == [32767, 32767, 32767, -32768, -32768, -32768]


def test_bytes_are_little_endian() -> None:
    assert list(pcm_frames([np.array([1 / 32768, -2 / 32768], dtype=np.float32)], 2)) == [b"\x01\x00\xfe\xff"]


def test_conversion_does_not_change_the_block() -> None:
    block = noise(100)
    before = block.copy()
    list(pcm_frames([block], 10))
    np.testing.assert_array_equal(block, before)


def test_a_frame_is_yielded_as_soon_as_it_is_complete() -> None:
    asked = []

    def blocks():  # type: ignore[no-untyped-def]
        for number in range(100):
            asked.append(number)
            yield noise(1000)

    frames = pcm_frames(blocks(), 400)
    next(frames)
    assert asked == [0]


def test_frame_samples_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(pcm_frames([noise(10)], 0))


@pytest.mark.parametrize(("rate", "wire_rate"), [(44100, 16000), (8000, 16000), (16000, 16000), (48000, 8000)])
def test_wire_frames_have_the_resampled_signal(tmp_path, rate: int, wire_rate: int) -> None:  # type: ignore[no-untyped-def]
    path = write_signal(tmp_path / "a.flac", noise(rate * 3 + 17), rate, FLAC)
    with open_source(path) as source:
        whole = b"".join(wire_frames(source, wire_rate, wire_rate // 4))
        assert len(whole) == 2 * round((rate * 3 + 17) * wire_rate / rate)
        from_two = b"".join(wire_frames(source, wire_rate, wire_rate // 4, start_s=2.0))
    rest = whole[2 * 2 * wire_rate :]
    assert len(from_two) == len(rest)
    ours, theirs = (np.frombuffer(pcm, dtype="<i2").astype(int) for pcm in (from_two, rest))
    settled = wire_rate // 50  # the filter starts from nothing there
    assert np.abs(ours - theirs)[settled:].max() <= 1


def test_wire_frames_of_a_16_bit_file_at_the_wire_rate_equal_its_samples(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = write_signal(tmp_path / "a.wav", noise(20_000), 16000, WAV)
    with open_source(path) as source:
        assert b"".join(wire_frames(source, 16000, 4000)) == path.read_bytes()[-40_000:]


def test_a_waiting_generator_keeps_no_block_in_memory() -> None:
    """A live session waits between two frames, and a process runs hundreds of them."""
    blocks: list[weakref.ref[Samples]] = []

    def source() -> Iterator[Samples]:
        for _ in range(3):
            ready = [np.zeros(8000, np.float32)]
            blocks.append(weakref.ref(ready[0]))
            yield ready.pop()

    frames = pcm_frames(resample_blocks(source(), 8000, 16000), 4000)
    next(frames)
    assert blocks
    assert all(block() is None for block in blocks)
