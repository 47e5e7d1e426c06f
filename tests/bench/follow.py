"""The time from a commit to its arrival at a follower: `python -m tests.bench.follow`."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from tasks.client.handles import submit_async
from tests.bench.machine import tell
from tests.support.redis_server import Valkey
from tests.support.samples_of import a_segment
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import load

COMMITS = 40
PAUSE_S = 0.15  # so that each commit arrives while the follower waits


async def measure(folder: Path, url: str) -> dict[str, float]:
    settings = load({"STT_REDIS_URL": url})
    (folder / "a.wav").write_bytes(b"audio")
    handle, ledger = await submit_async(folder / "a.wav", settings=settings), Ledger(settings)
    lease = await ledger.acquire(handle.id, "bench")
    assert isinstance(lease, Lease)
    committed: list[float] = []
    seen: list[float] = []

    async def follow() -> None:
        async for _ in handle.commits():
            seen.append(time.perf_counter())
            if len(seen) == COMMITS:
                return

    following = asyncio.create_task(follow())
    for number in range(COMMITS):
        await asyncio.sleep(PAUSE_S)
        committed.append(time.perf_counter())
        await lease.commit(a_segment(f"word {number}", number, number + 1))
    await asyncio.wait_for(following, 60)
    await ledger.close()
    late = sorted(at - began for at, began in zip(seen, committed, strict=True))
    return {"median_ms": statistics.median(late) * 1000, "p90_ms": late[int(len(late) * 0.9)] * 1000}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        valkey = Valkey(Path(folder))
        try:
            tell(asyncio.run(measure(Path(folder), valkey.url)))
        finally:
            valkey.stop()


if __name__ == "__main__":
    main()
