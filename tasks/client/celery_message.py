"""The message that wakes a worker: a Celery message (protocol 2) in Redis, in the form that kombu writes.

Producers send it without Celery: importing Celery takes a third of a second and `send_task` a millisecond per job, but
this is one command for thousands of jobs. Workers send theirs through Celery (`tasks.app.wake`).

A worker that receives a message runs the first job in the ledger's queue. The job named in the message and its place in
the Celery queue therefore do not matter: the ledger decides by priority and rotates between batches. Each waiting job
has at least one message.
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
    # Only the fields that a worker of Celery 5 needs, because Redis may store 10,000 of these messages.
    return (
        f'{{"body":"{body}","content-type":"application/json","content-encoding":"utf-8",'
        f'"headers":{{"lang":"py","task":"{TRANSCRIBE_TASK}","id":"{identity}","ignore_result":true}},'
        f'"properties":{{"delivery_tag":"{identity}","delivery_info":{{"exchange":"","routing_key":{json.dumps(queue)}}},'
        f'"priority":0,"body_encoding":"base64","delivery_mode":2}}}}'
    )


__all__ = ["TRANSCRIBE_TASK", "message"]
