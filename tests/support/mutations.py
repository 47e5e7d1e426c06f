"""Makes queue messages for fuzz tests: changes random bytes or values of valid messages. The same seed gives the same
messages."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from tasks.client import celery_message

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 1e308, 0.5, "", "x", "1", "\0", "a\nb", "é", "\ud800", "x" * 5000),
    *(
        [],
        [None],
        [[]],
        ["x", 1],
        {},
        {"a": 1},
        {"": {}},
        [[], {}],
        [[], {}, None],
        {"task": "x"},
        "2031-01-01T00:00:00",
    ),
    *(
        "9999-12-31T23:59:59+00:00",
        "application/x-python-serialize",
        "gzip",
        "bzip2",
        "binary",
        "utf-16",
        "tasks.transcribe",
    ),
)
NAMES = (
    *(
        "body",
        "headers",
        "properties",
        "content-type",
        "content-encoding",
        "task",
        "id",
        "args",
        "kwargs",
        "job",
        "job_id",
    ),
    *(
        "eta",
        "expires",
        "timelimit",
        "retries",
        "stamped_headers",
        "stamps",
        "compression",
        "group",
        "chord",
        "callbacks",
    ),
    *("errbacks", "chain", "delivery_tag", "delivery_info", "priority", "body_encoding", "reply_to", "correlation_id"),
    *(
        "shadow",
        "ignore_result",
        "redelivered",
        "root_id",
        "argsrepr",
        "exchange",
        "routing_key",
        "utc",
        "get",
        "update",
    ),
)


def mutations(count: int, seed: int, job_id: str, queue: str = "stt") -> Iterator[bytes]:
    """Yield `count` mutated Celery messages. Each was a valid message for the job `job_id` before its mutation."""
    rng = random.Random(seed)
    # Alternately: one message with changed bytes, one with a changed body, two with changed fields.
    for number in range(count):
        message = json.loads(celery_message.message(job_id, queue))
        kind = number % 4
        if kind == 0:
            yield _bytes(json.dumps(message).encode(), rng)
            continue
        if kind == 1:
            body = json.loads(base64.b64decode(message["body"]))
            body = _structure(body, rng)
            message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
        else:
            for _ in range(rng.randint(1, 3)):
                message = _structure(message, rng)
        yield json.dumps(message).encode()


def _bytes(raw: bytes, rng: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) or 1)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 40)]
            case 2:
                data[at:at] = data[at : at + rng.randint(1, 40)]
            case 3:
                data[at:at] = rng.choice([b"[" * 2000, b'{"a":', b"\xff\xfe", b"\0", b"9" * 5000, b'"'])
            case _:
                del data[at:]
        if not data:
            break
    return bytes(data)


def _structure(value: Any, rng: random.Random) -> Any:
    """Change `value` in place at one random position: replace, remove, add, wrap or repeat an item. Returns `value`, or
    in 3 % of the calls an item of `STRANGE` instead."""
    places = list(_places(value))
    if not places or rng.random() < 0.03:
        return _strange(rng)
    parent, key = rng.choice(places)
    match rng.randrange(6):
        case 0 | 1 | 2:
            parent[key] = _strange(rng)
        case 3:
            del parent[key]
        case 4 if isinstance(parent, dict):
            parent[rng.choice(NAMES)] = _strange(rng)
        case _:
            parent[key] = rng.choice(
                [[parent[key]], {"a": parent[key]}, [parent[key], copy.deepcopy(parent[key])], str(parent[key])]
            )
    return value


def _strange(rng: random.Random) -> Any:
    """Return a random item of `STRANGE`, as a copy, because a later mutation may change it."""
    return copy.deepcopy(rng.choice(STRANGE))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every position in a nested value, as the dict or list that has the item and the item's key or index."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)
