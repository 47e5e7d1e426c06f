"""The wake-up of a job as a Celery message (protocol 2) in Redis, written as kombu writes it.

A producer sends it without Celery: importing Celery takes a third of a second, and `send_task` a millisecond a job,
while this is one command for thousands. A worker's own sends go through Celery (`tasks.app.wake`).

kombu keeps four lists for a queue and empties the first before the next. `high` is in the first, `low` in the last.
Of a batch that is queued in one go only the first jobs are in the second; the rest goes into the third, so that what
is submitted later does not wait for all of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Final, Literal
from uuid import uuid4

TASK: Final = "tasks.transcribe"
HEAD_OF_BATCH: Final = 50
"""Jobs of a batch that are as urgent as a single one."""
_HIGH, _NORMAL, _CROWD, _LOW = 0, 3, 6, 9
_SEPARATOR: Final = "\x06\x16"
Priority = Literal["high", "normal", "low"]


def level(priority: Priority, position: int = 0) -> int:
    """kombu's priority, 0 first, of the job at `position` (from 0) among those that are queued in one go."""
    if priority == "normal":
        return _NORMAL if position < HEAD_OF_BATCH else _CROWD
    return _HIGH if priority == "high" else _LOW


def list_of(queue: str, priority: int) -> str:
    """The Redis list that holds the messages of this priority."""
    return f"{queue}{_SEPARATOR}{priority}" if priority else queue


def message(job_id: str, queue: str, priority: int) -> str:
    """The element of that list."""
    identity = str(uuid4())
    body = base64.b64encode(f'[[],{{"job_id":{json.dumps(job_id)}}},null]'.encode()).decode()
    # What a worker of Celery 5 needs, and no more: 10,000 of these lie in Redis.
    return (
        f'{{"body":"{body}","content-type":"application/json","content-encoding":"utf-8",'
        f'"headers":{{"lang":"py","task":"{TASK}","id":"{identity}","ignore_result":true}},'
        f'"properties":{{"delivery_tag":"{identity}","delivery_info":{{"exchange":"","routing_key":{json.dumps(queue)}}},'
        f'"priority":{priority},"body_encoding":"base64","delivery_mode":2}}}}'
    )


def by_list(jobs: Iterable[tuple[str, int]], queue: str) -> dict[str, list[str]]:
    """The messages for (job id, priority of kombu), by the list to `LPUSH` them to, oldest first."""
    lists: dict[str, list[str]] = {}
    for job_id, priority in jobs:
        lists.setdefault(list_of(queue, priority), []).append(message(job_id, queue, priority))
    return lists


__all__ = ["HEAD_OF_BATCH", "TASK", "Priority", "by_list", "level", "list_of", "message"]
