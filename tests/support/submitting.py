"""Submits one job as soon as the file GO exists, so that several of these processes can submit at the same moment.

python -m tests.support.submitting REDIS_URL SOURCE GO

Prints `ready` when it waits for GO, and at the end a JSON list with the `id` and `before` of the job's handle.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tasks.client.handles import submit
from tests.support.wait import wait_until
from worker.settings import load

if __name__ == "__main__":
    url, source, go = sys.argv[1:]
    settings = load({}, redis_url=url)
    print("ready", flush=True)  # noqa: T201
    wait_until(Path(go).exists, "all services are ready", timeout_s=60, poll_s=0.001)
    handle = submit(source, settings=settings)
    print(json.dumps([handle.id, handle.before]))  # noqa: T201
