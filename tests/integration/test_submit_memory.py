"""Submitting needs no memory for each source: ids, names and results are in a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from tasks.cli.sources.expand_arguments import sources
from tasks.cli.sources.output_names import name_outputs, named
from worker.settings import load

MAX_GROWTH_BYTES = 8_000_000
# Prints its peak memory in KB on the last line. The peak is VmHWM: ru_maxrss would include the parent's memory.
SCRIPT = """
import atexit, re, sys
from pathlib import Path
from tasks.cli import main
status = Path("/proc/self/status")
atexit.register(lambda: print(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1], file=sys.stderr))
main()
"""


def manifest(folder: Path, entries: int, *, ids: bool) -> Path:
    """Write a manifest in which all sources of a hundred have the same name."""
    path = folder / f"list-{entries}-{ids}.csv"
    rows = (f"https://example.com/{n % 100}/call-{n // 100}.wav,{f'job-{n}' if ids else ''}" for n in range(entries))
    path.write_text("\n".join(["source,id", *rows]))
    return path


async def test_a_listing_with_names_is_flat_in_memory(tmp_path: Path) -> None:
    peaks = []
    # The first one imports modules. The last one is repeated: sometimes Python enlarges its table of interned strings,
    # to which pathlib adds names, by 8 MB.
    for entries in (100, 300, 3000, 3000):
        path = manifest(tmp_path, entries, ids=True)
        tracemalloc.start()
        try:
            listing = await sources([str(path)], load({}), media=True)
            name_outputs(listing.found, tmp_path, ("json",))
            assert len({item.out_name for item in named(listing.found)}) == entries
            peaks.append(tracemalloc.get_traced_memory()[1] - entries * 100)  # the names in the set
        finally:
            tracemalloc.stop()
    assert min(peaks[2:]) - peaks[1] < 300_000, peaks


@pytest.mark.bench
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_manifest_is_submitted_in_the_same_memory(tmp_path: Path, redis_url: str, as_json: bool) -> None:
    peaks = {}
    for entries in (1000, 50_000):
        command = [sys.executable, "-c", SCRIPT, "submit", str(manifest(tmp_path, entries, ids=True))]
        done = subprocess.run(
            [*command, "--out", str(tmp_path), *(["--json"] if as_json else [])],
            env={**os.environ, "STT_REDIS_URL": redis_url},
            capture_output=True,
            text=True,
            timeout=900,
            check=True,
        )
        peaks[entries] = int(done.stderr.split()[-1]) * 1000
        assert len(re.findall(r"\bjob-\d+\b", done.stdout)) == entries
    print(peaks)  # noqa: T201
    assert peaks[50_000] - peaks[1000] < MAX_GROWTH_BYTES, peaks
