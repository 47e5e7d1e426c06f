from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tests.support import audiofiles
from tests.support.audiofiles import write_signal
from worker.audio.decoding.buffer_pool import scratch
from worker.audio.decoding.decode import open_source


def test_interleaved_sources_and_threads_do_not_share_a_buffer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    signals = [(rng.standard_normal((44100 * 3, 2)) * 0.1).astype(np.float32) for _ in range(6)]
    paths = [write_signal(tmp_path / f"{n}.flac", s, 44100, audiofiles.FLAC) for n, s in enumerate(signals)]

    def in_turns(some: list[Path]) -> list[np.ndarray]:
        sources = [open_source(path) for path in some]
        rounds = list(zip(*(source.blocks(block_s=0.05) for source in sources), strict=True))
        for source in sources:
            source.close()
        return [np.concatenate(blocks) for blocks in zip(*rounds, strict=True)]

    with ThreadPoolExecutor(3) as pool:
        found = [signal for part in pool.map(in_turns, (paths[:2], paths[2:4], paths[4:])) for signal in part]
    for signal, was in zip(found, signals, strict=True):
        np.testing.assert_allclose(signal, was.mean(axis=1), atol=1e-4)


def test_buffers_in_use_do_not_overlap() -> None:
    with scratch(10, 2, np.float32) as one, scratch(4, 1, np.int16) as other:
        one[:] = 1.5
        other[:] = 7
        assert (one.shape, other.shape) == ((10, 2), (4, 1))
        assert (one == 1.5).all()
    with scratch(1000, 2, np.int16) as larger:
        assert larger.shape == (1000, 2)
