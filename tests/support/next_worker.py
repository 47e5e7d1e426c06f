"""A worker of a future version: jobs have the option `loudness`, and the ledger has the next schema version.

    python -m tests.support.next_worker worker ...        arguments of `stt-batch`

With NEXT_READER=2, the current version cannot read its records.
"""

from __future__ import annotations

import os

import tasks.job_spec
from worker.ledger import schema


class JobSpec(tasks.job_spec.JobSpec):
    loudness: bool = False


if __name__ == "__main__":
    # Before other modules import them.
    tasks.job_spec.JobSpec = JobSpec  # type: ignore[misc]
    schema.VERSION, schema.READER = 2, int(os.environ.get("NEXT_READER", "1"))  # type: ignore[misc]
    schema.WRITTEN = schema.VERSION, schema.READER  # type: ignore[misc]
    from tasks.cli import main

    main()
