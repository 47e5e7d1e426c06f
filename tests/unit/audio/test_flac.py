"""The real length of a FLAC file is found with its last frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import audiofiles
from tests.support.audiofiles import Coding, write_signal
from tests.support.mediafiles import Media, write_media
from worker.audio.file_formats import flac


def noise(samples: int, channels: int = 1) -> np.ndarray:
    return (np.random.default_rng(samples).standard_normal((samples, channels)) * 0.3).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 60_000),
    rate=st.sampled_from([8000, 11025, 44100, 48000, 96000]),
    channels=st.integers(1, 3),
    coding=st.sampled_from([audiofiles.FLAC, audiofiles.FLAC_24]),
)
def test_a_complete_file_has_its_declared_length(
    tmp_path_factory: pytest.TempPathFactory, samples: int, rate: int, channels: int, coding: Coding
) -> None:
    path = write_signal(tmp_path_factory.getbasetemp() / "whole.flac", noise(samples, channels), rate, coding)
    length = flac.length_of(path)
    assert length is not None
    assert (length.declared_samples, length.actual_samples) == (samples, samples)


def test_the_head_without_length_declares_no_length(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.flac", noise(100_000), 16000, audiofiles.FLAC)
    length = flac.length_of(path)
    assert length is not None
    data = path.read_bytes()
    path.write_bytes(length.head_without_length + data[len(length.head_without_length) :])
    assert soundfile.info(path).frames > 1 << 60  # it does not say
    found = flac.length_of(path)
    assert found is not None
    assert (found.declared_samples, found.actual_samples) == (0, 100_000)


def test_the_length_is_found_for_another_encoder(tmp_path: Path) -> None:
    media = Media("flac", "flac", "flac", "flac", 44100, 2)
    path = write_media(tmp_path / "a.flac", noise(100_000)[:, 0], media)
    length = flac.length_of(path)
    assert length is not None
    assert length.actual_samples == 100_000


def test_the_length_is_found_for_large_frame_numbers(tmp_path: Path) -> None:
    """Frame numbers take more than one byte."""
    path = write_signal(tmp_path / "a.flac", noise(3_000_000) * 0.01, 16000, audiofiles.FLAC)
    length = flac.length_of(path)
    assert length is not None
    assert length.actual_samples == 3_000_000


def test_the_length_of_a_truncated_file_is_that_of_its_last_frame(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.flac", noise(100_000), 16000, audiofiles.FLAC)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    length = flac.length_of(path)
    assert length is not None
    assert length.actual_samples < 60_000


@pytest.mark.parametrize(
    "data", [b"", b"fLaC", b"fLaC" + bytes(100), b"OggS" + bytes(100), b"fLaC" + b"\xff\xf8" * 5000]
)
def test_other_data_has_no_flac_length(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    assert flac.length_of(path) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_any_tail_is_searched_without_an_error(data: bytes) -> None:
    flac._end_of_last_frame(data, 4096)
