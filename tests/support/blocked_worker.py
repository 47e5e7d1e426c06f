"""A worker whose event loop blocks for some seconds after its first commit, and then continues normally.

The environment variable BLOCKS_S is the time in seconds. BLOCKS_ONCE is the path of a file that the worker creates
just before it blocks; if the file exists already, the worker does not block.

python -m tests.support.blocked_worker worker ...        takes the arguments of `stt-batch`
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tasks.cli import main
from worker.ledger.lease import Lease
from worker.transcript.model import Segment

BLOCKED_S = float(os.environ.get("BLOCKS_S", "6"))

_commit = Lease.commit


def _block_once() -> None:
    mark = Path(os.environ["BLOCKS_ONCE"])
    if not mark.exists():
        mark.touch()
        time.sleep(BLOCKED_S)


async def _commit_then_block(self: Lease, segment: Segment) -> None:
    await _commit(self, segment)
    _block_once()


if __name__ == "__main__":
    Lease.commit = _commit_then_block  # type: ignore[method-assign]
    main()
