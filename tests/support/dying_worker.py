"""A worker that kills itself between the last commit of a job and the end of the job, but only once.

The environment variable DIES_ONCE is the path of a file that the worker creates just before. If the file exists
already, the worker behaves normally.

python -m tests.support.dying_worker worker ...        takes the arguments of `stt-batch`
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from tasks.cli import main
from worker.ledger.lease import Lease

_end = Lease._end


def _die_once() -> None:
    mark = Path(os.environ["DIES_ONCE"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


async def _die_first(self: Lease, *args: Any) -> None:
    _die_once()
    await _end(self, *args)


if __name__ == "__main__":
    Lease._end = _die_first  # type: ignore[method-assign]
    main()
