"""A second pass that reads ranges in order of time decodes the file once, and gets the samples of a new reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import audiofiles
from worker.audio.decoding.decode import open_source
from worker.audio.decoding.reader_base import ReaderBase
from worker.audio.forward_reader import MAX_DECODED_GAP_S, ForwardReader
from worker.audio.opened_file import as_source_file
from worker.audio.pcm_frames import wire_frames
from worker.audio.segmentation.scan import scan_range
from worker.audio.source import AudioInfo

RATE = 1000
LENGTH_S = 20
SAMPLES = np.arange(LENGTH_S * RATE, dtype=np.float32)


class Recorded(ReaderBase):
    """A source in memory that counts the decoded samples. Without exact seek, it decodes all audio before a start."""

    def __init__(self, coding: str) -> None:
        super().__init__(as_source_file(Path(__file__)))  # any file: only the samples are read
        self.info = AudioInfo(RATE, 1, len(SAMPLES), coding)
        self.starts: list[int] = []
        self.decoded = 0

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[npt.NDArray[Any]]:
        self.starts.append(start_frame)
        size, at = round(block_s * RATE), start_frame if self.info.format == "PCM_16" else 0
        for first in range(at, len(SAMPLES), size):
            block = SAMPLES[first : first + size]
            self.decoded += len(block)
            if first + len(block) > start_frame:
                yield block[max(0, start_frame - first) :]


def read(reader: ForwardReader, start: int, count: int, block_s: float) -> list[float]:
    found: list[float] = []
    for block in reader.blocks(start, block_s):
        assert len(block) <= max(1, round(block_s * RATE))
        found += block.tolist()
        if len(found) >= count:
            break
    return found[:count]


ranges = st.tuples(st.integers(0, len(SAMPLES) + 100), st.integers(1, 3000), st.sampled_from([0.01, 0.25, 1.0, 2.0]))


@given(st.lists(ranges, max_size=12), st.sampled_from(["MPEG_LAYER_III", "PCM_16"]))
def test_ranges_in_any_order_have_the_samples_of_a_new_reader(
    wanted: list[tuple[int, int, float]], coding: str
) -> None:
    source = Recorded(coding)
    reader = ForwardReader(source)
    for start, count, block_s in wanted:
        assert read(reader, start, count, block_s) == SAMPLES[start : start + count].tolist()
    assert len(source.starts) <= len(wanted)


@given(st.lists(st.tuples(st.integers(0, len(SAMPLES) - 1), st.integers(1, 900)), min_size=1, max_size=30))
def test_ranges_in_order_are_decoded_once_without_exact_seek(wanted: list[tuple[int, int]]) -> None:
    source = Recorded("MPEG_LAYER_III")
    reader = ForwardReader(source)
    last = 0
    for start, count in sorted(wanted):
        # As in a second pass, a range begins at the end of the one before at the earliest.
        first = max(start, last)
        last = first + len(read(reader, first, count, 1.0))
    assert source.decoded <= len(SAMPLES)
    assert len(source.starts) == 1


def test_a_long_gap_is_skipped_if_the_codec_seeks_exactly() -> None:
    source = Recorded("PCM_16")
    reader = ForwardReader(source)
    gap = round(MAX_DECODED_GAP_S * RATE)
    read(reader, 0, 500, 1.0)
    read(reader, 1000 + gap, 500, 1.0)
    assert source.starts == [0]
    read(reader, 15000, 500, 1.0)
    assert source.starts == [0, 15000]


def test_an_earlier_range_is_decoded_from_the_start_again() -> None:
    source = Recorded("MPEG_LAYER_III")
    reader = ForwardReader(source)
    read(reader, 9000, 500, 1.0)
    read(reader, 100, 500, 1.0)
    assert source.starts == [9000, 100]


@pytest.mark.parametrize("coding", [audiofiles.WAV, audiofiles.FLAC, audiofiles.MP3], ids=str)
def test_scans_and_frames_of_files_equal_those_of_new_readers(tmp_path: Path, coding: audiofiles.Coding) -> None:
    rate = 16000 if coding is audiofiles.WAV else 44100
    noise = np.random.default_rng(0).standard_normal((4 * rate, 2)).astype(np.float32) * 0.05
    noise[:, 1] += np.sin(np.arange(len(noise)) / 20).astype(np.float32) * 0.2
    noise[rate : 2 * rate, 1] = -noise[rate : 2 * rate, 0]  # the channels cancel each other here
    path = audiofiles.write_signal(tmp_path / f"a.{coding.ending}", noise, rate, coding)
    with ForwardReader(open_source(path)) as reader, open_source(path) as fresh:
        for start_s, end_s in [(0.3, 1.2), (1.4, 2.3), (3.5, 4.5), (0.9, 1.5)]:
            found, expected = scan_range(reader, start_s, end_s), scan_range(fresh, start_s, end_s)
            assert (found.low.tobytes(), found.high.tobytes()) == (expected.low.tobytes(), expected.high.tobytes())
            assert found.source_samples == expected.source_samples
            sent, again = (wire_frames(one, 16000, 4000, end_s) for one in (reader, fresh))
            assert next(sent, None) == next(again, None)
