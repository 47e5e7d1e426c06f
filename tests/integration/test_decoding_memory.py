"""Memory does not grow with the length of a file. Measures the peak memory of processes that only decode files to
frames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
ALLOWED_MB = 20
# Decodes one file, and prints the peak memory of the process in KB and the number of samples. The peak is VmHWM:
# ru_maxrss would include the memory of the parent before the exec.
PROGRAM = """
import json, sys
from pathlib import Path
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames

with open_source(Path(sys.argv[1])) as source:
    samples = sum(len(frame) for frame in wire_frames(source, 16000, 4000)) // 2
status = Path("/proc/self/status").read_text().split()
print(json.dumps([int(status[status.index("VmHWM:") + 1]), samples]))
"""


def peak_mb(path: Path, expected_s: float) -> float:
    run = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True, timeout=600)
    peak_kb, samples = json.loads(run.stdout)
    assert samples == round(expected_s * 16000)
    return peak_kb / 1024


def compare(tmp_path: Path, coding: Coding, rate: int, channels: int, short_s: int, long_s: int) -> None:
    peaks = []
    for length_s in (short_s, long_s):
        minute = [tones.encode(tones.speech(60), rate, duration_s=60)]
        blocks = minute * (length_s // 60)
        path = audiofiles.write_blocks(tmp_path / f"{length_s}.{coding.ending}", blocks, rate, coding, channels)
        peaks.append(peak_mb(path, length_s))
        path.unlink()
    assert peaks[1] - peaks[0] < ALLOWED_MB, peaks
    sys.stdout.write(
        f"{coding} {rate} Hz, {channels} ch: {peaks[0]:.1f} MB ({short_s} s), {peaks[1]:.1f} MB ({long_s} s)\n"
    )


@pytest.mark.parametrize(
    ("coding", "rate", "channels"), [(audiofiles.MULAW, 8000, 1), (audiofiles.FLAC, 16000, 2)], ids=str
)
def test_fifteen_minutes_take_no_more_than_one(tmp_path: Path, coding: Coding, rate: int, channels: int) -> None:
    compare(tmp_path, coding, rate, channels, 60, 900)


@pytest.mark.bench
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("coding", "rate", "channels"),
    [
        (audiofiles.MULAW, 8000, 1),
        (audiofiles.FLAC, 44100, 2),
        (audiofiles.MP3, 44100, 1),
        (audiofiles.VORBIS, 16000, 1),
    ],
    ids=str,
)
def test_ten_hours_take_no_more_than_a_minute(tmp_path: Path, coding: Coding, rate: int, channels: int) -> None:
    compare(tmp_path, coding, rate, channels, 60, 36_000)
