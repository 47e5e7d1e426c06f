"""A worker of a version to come: jobs may ask for `loudness`, and the form of the ledger has the next number.

    python -m tests.support.next_worker worker ...        arguments of `stt-batch`

With NEXT_READER=2 the version before it cannot read what it writes.
"""

from __future__ import annotations

import os

import tasks.job_spec
from worker.ledger import schema


class JobSpec(tasks.job_spec.JobSpec):
    loudness: bool = False


if __name__ == "__main__":
    # Before anything else has taken them from there.
    tasks.job_spec.JobSpec = JobSpec  # type: ignore[misc]
    schema.VERSION, schema.READER = 2, int(os.environ.get("NEXT_READER", "1"))  # type: ignore[misc]
    schema.WRITTEN = schema.VERSION, schema.READER  # type: ignore[misc]
    from tasks.cli import main

    main()
