"""The wake-up of a worker as a Celery message (protocol 2) in Redis, written as kombu writes it.

A producer sends it without Celery: importing Celery takes a third of a second, and `send_task` a millisecond a job,
while this is one command for thousands. A worker's own sends go through Celery (`tasks.app.wake`).

Whoever gets one takes the job that is first in the ledger's line, so which job is named in it and where it lies in the
queue decides nothing: priorities, and batches that take turns, are the ledger's. There is at least one for each job
that waits.
"""

from __future__ import annotations

import base64
import json
from typing import Final
from uuid import uuid4

TRANSCRIBE_TASK: Final = "tasks.transcribe"
"""Name of the only task. Producers in every language send it, so it never changes."""


def message(job_id: str, queue: str) -> str:
    """The element to `LPUSH` to the list that has the queue's name."""
    identity = str(uuid4())
    body = base64.b64encode(f'[[],{{"job_id":{json.dumps(job_id)}}},null]'.encode()).decode()
    # What a worker of Celery 5 needs, and no more: 10,000 of these lie in Redis.
    return (
        f'{{"body":"{body}","content-type":"application/json","content-encoding":"utf-8",'
        f'"headers":{{"lang":"py","task":"{TRANSCRIBE_TASK}","id":"{identity}","ignore_result":true}},'
        f'"properties":{{"delivery_tag":"{identity}","delivery_info":{{"exchange":"","routing_key":{json.dumps(queue)}}},'
        f'"priority":0,"body_encoding":"base64","delivery_mode":2}}}}'
    )


__all__ = ["TRANSCRIBE_TASK", "message"]
