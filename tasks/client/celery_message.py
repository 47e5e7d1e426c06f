"""Builds the message that wakes a worker: a Celery message (protocol 2), as kombu writes it to Redis.

Producers send this message without Celery. The import of Celery takes a third of a second, and `send_task` of Celery
takes a millisecond per job. Without Celery, one Redis command sends thousands of messages. Workers send their messages
through Celery (`tasks.app.wake`).

A worker that receives a message runs the first job in the ledger's queue, which may not be the job that the message
names. The order of the messages therefore does not matter: the ledger orders jobs by priority and rotates between
batches. Each waiting job has at least one message.
"""

from __future__ import annotations

import base64
import json
from typing import Final
from uuid import uuid4

TRANSCRIBE_TASK: Final = "tasks.transcribe"
"""Name of the only task. Producers in every language send it, so it never changes."""


def message(job_id: str, queue: str) -> str:
    """Return the message as the element to `LPUSH` to the Redis list that has the name of the queue."""
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
