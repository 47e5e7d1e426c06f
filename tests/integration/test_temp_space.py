"""The folder for downloads of a worker that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.wait import wait_until
from worker.storage.sources.temp_space import remove_abandoned

HOLDER = """
import asyncio, sys
from worker.settings import load
from worker.storage.sources.temp_space import temporary_file
async def main():
    async with temporary_file("a.wav", load({"STT_TEMP_DIR": sys.argv[1]})) as path:
        path.write_bytes(b"x")
        print(path, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_killed_process_leaves_nothing_behind_for_long(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as holder:
        assert holder.stdout is not None
        path = Path(holder.stdout.readline().strip())
        remove_abandoned(tmp_path)
        assert path.exists()  # its process lives
        holder.kill()
        holder.wait(10)
    wait_until(path.exists, "the file is still there", timeout_s=1)
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []
