"""A worker of a pretended future version: jobs have a new option `loudness`, and the ledger has the next version of its
schema.

    python -m tests.support.next_worker worker ...        takes the arguments of `stt-batch`

With NEXT_READER set to that version, the worker writes records that the current version must refuse to read.
"""

from __future__ import annotations

import os

import tasks.job_spec
from worker.ledger import schema


class JobSpec(tasks.job_spec.JobSpec):
    loudness: bool = False


if __name__ == "__main__":
    # Replace the names before the import of `tasks.cli`, because other modules copy them when they are imported.
    tasks.job_spec.JobSpec = JobSpec  # type: ignore[misc]
    schema.VERSION += 1  # type: ignore[misc]
    schema.READER = int(os.environ.get("NEXT_READER", schema.READER))  # type: ignore[misc]
    schema.WRITTEN = schema.VERSION, schema.READER  # type: ignore[misc]
    from tasks.cli import main

    main()
