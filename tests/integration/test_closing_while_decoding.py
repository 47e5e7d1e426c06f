"""A cancelled job closes its source while a thread still decodes it. The process must survive.

A fault ends the process with SIGSEGV, so each case runs in a separate process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import audiofiles
from tests.support.audiofiles import Coding

CLOSE_WHILE_READING = """
import sys, threading, time
from pathlib import Path
from worker.audio.decoding.decode import open_source
for number in range(60):
    source = open_source(Path(sys.argv[1]))
    blocks = source.blocks()
    def read():
        try:
            next(blocks), next(blocks)
        except Exception:  # the source is closed
            pass
    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(number % 30 * 0.0004)
    source.close()
    thread.join(30)
    assert not thread.is_alive()
"""


@pytest.mark.parametrize("coding", [audiofiles.FLAC, audiofiles.MP3, audiofiles.VORBIS, audiofiles.WAV], ids=str)
@pytest.mark.gate_sample(2)
def test_a_source_can_be_closed_while_a_thread_reads_it(tmp_path: Path, coding: Coding) -> None:
    signal = (np.random.default_rng(0).standard_normal(44100 * 10) * 0.1).astype(np.float32)
    path = audiofiles.write_signal(tmp_path / f"a.{coding.ending}", np.column_stack([signal, signal]), 44100, coding)
    command = [sys.executable, "-c", CLOSE_WHILE_READING, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
