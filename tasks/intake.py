"""Jobs from programs in any language: entries of a Redis stream, checked before anything is done with them.

    XADD stt:intake * job '{"source": "/audio/call.wav", "out_dir": "/results"}'

| field   | holds                                                                       |
|---------|-----------------------------------------------------------------------------|
| `job`   | the fields of `tasks.jobs.JobSpec`, JSON, at most MOST_BYTES                |
| `key`   | optional: an idempotency key, which becomes the job's id                    |
| `again` | optional: `1` does a finished job again                                     |

Every entry is answered in the stream `intake:replies`: `request` is the id XADD gave, and with it either `job` (the id)
and `state`, or `refused` (a code of worker/errors.py) and `reason`. The start of a refused entry is also kept in the
stream `intake:refused`. Both are bounded and end. A process that dies in the middle leaves its entries to the others;
an entry done twice is one job all the same.

| who                  | may                                          | is refused, or bounded                         |
|----------------------|----------------------------------------------|------------------------------------------------|
| a producer, by ACL:  | name jobs; each is checked here, again where | anything that is no JobSpec; entries above     |
| XADD to `intake`     | the source is opened, and where files are    | MOST_BYTES; floods above STT_QUEUE_MAX; one    |
|                      | written                                      | that ended MOST_DELIVERIES workers             |
| the path of a job    | name files below STT_ALLOWED_SOURCES         | `..`, links that lead out, devices and pipes,  |
|                      |                                              | above STT_SOURCE_MAX_GB                        |
| the address of a job | name web servers and buckets                 | private addresses, also behind a name or a     |
|                      |                                              | redirect; passwords in it; endless downloads   |
| the file behind it   | be any file of others: data, not trusted     | too long or too wide (STT_SOURCE_MAX_HOURS,    |
|                      |                                              | _CHANNELS), also when its header says less     |
| the outputs of a job | name places below STT_ALLOWED_OUTPUTS        | `out_name` with `..`; addresses of web servers |
| the webhook of a job | be told of its end, signed                   | private addresses, redirects, long answers     |
| a producer, by ACL:  | read replies and events: paths, ids, and     | they hold no key, no query of a signed address |
| XREAD                | text in `events`                             |                                                |
| who may write to the | queue any job past this intake, as Celery's  | the same as above, in the worker: the lists of |
| queue or `job:*`     | messages; end or change jobs                 | the settings hold there too                    |
| who reads all keys   | read every transcript                        | give such rights to workers only               |
| the real-time        | see the audio, and answer anything           | messages of the wrong form; it cannot end a    |
| service              |                                              | worker, nor write into another job             |

Nothing that was accepted is dropped. Above STT_QUEUE_MAX entries in the stream the newest ones are refused, and with as
many jobs in the line every further one, with `queue_full`: the producer may add them again later.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import PurePosixPath
from secrets import token_hex
from typing import Any, Final

import structlog
from pydantic import ValidationError

from tasks.jobs import JobSpec
from tasks.loop import LoopThread
from tasks.producer import Producer, problems
from worker.errors import BadJob, LedgerUnavailable, QueueFull, SttError
from worker.settings import Settings
from worker.storage.allowed import check_output, check_source, check_webhook
from worker.storage.connection import Connection
from worker.storage.ledger import UNFINISHED_TTL

logger = structlog.get_logger(__name__)
GROUP: Final = "workers"
MOST_BYTES: Final = 65_536
FIELDS: Final = frozenset({"job", "key", "again"})
POLL_S: Final = 0.5
"""Seconds between two looks into an empty stream, give or take a third."""
AT_ONCE: Final = 32
"""Entries in one look, and in work at the same time in one process."""
CLAIM_S: Final = 60.0
"""Seconds after which an entry that another process took is taken from it."""
MOST_DELIVERIES: Final = 5
"""An entry that was taken more often and never answered is refused: it may be what ends the processes."""
REPLIES_KEPT: Final = 100_000
REFUSED_KEPT: Final = 1_000
KEPT_BYTES: Final = 2_048
"""Of each field of a refused entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it lies in the stream."""

    id: str
    deliveries: int
    fields: dict[bytes, bytes]
    """Cut off just above MOST_BYTES."""


@dataclass(frozen=True, slots=True)
class Request:
    """An entry that is in order."""

    spec: JobSpec
    key: str | None
    again: bool


def read_request(entry: Entry) -> Request:
    """Check an entry. Raises BadJob with every reason a person can do something about."""
    if entry.deliveries > MOST_DELIVERIES:
        raise BadJob(f"taken {entry.deliveries - 1} times and never answered: it may have ended the workers that did")
    fields: dict[str, str] = {}
    for raw_name, raw_value in entry.fields.items():
        name = raw_name.decode("ascii", "backslashreplace")[:100]
        if name not in FIELDS:
            raise BadJob(f"unknown field {name!r}; there are {', '.join(sorted(FIELDS))}")
        if len(raw_value) > MOST_BYTES:
            raise BadJob(f"field {name!r} has more than {MOST_BYTES} bytes")
        try:
            fields[name] = raw_value.decode()
        except UnicodeDecodeError:
            raise BadJob(f"field {name!r} is not UTF-8") from None
    if "job" not in fields:
        raise BadJob("field 'job' is missing: XADD … * job '{\"source\": \"/audio/call.wav\"}'")
    again = fields.get("again", "0")
    if again not in ("0", "1"):
        raise BadJob("field 'again' must be 0 or 1")
    try:
        spec = JobSpec.model_validate_json(fields["job"])
    except ValidationError as exc:
        raise BadJob(problems(exc)) from None
    for name, path in (("source", spec.source), *(("out_dir", folder) for folder in spec.out_dirs)):
        # What a path is relative to, the producer cannot know; whatever has a scheme is not a path.
        if "://" not in path and not PurePosixPath(path).is_absolute():
            raise BadJob(f"{name}: must be an absolute path, as the workers see it")
        if "\0" in path:
            raise BadJob(f"{name}: must not hold a NUL character")
    return Request(spec, fields.get("key"), again == "1")


def check(spec: JobSpec, settings: Settings) -> None:
    """Raises SourceRefused, OutputError or BadJob for what the settings of this process do not allow."""
    check_source(spec.source, settings)
    for folder in spec.out_dirs:
        check_output(folder, settings)
    if spec.webhook is not None:
        check_webhook(spec.webhook, settings)


class Intake:
    """`run` goes on until it is cancelled. Belongs to the event loop of its producer."""

    def __init__(self, settings: Settings, producer: Producer, connection: Connection) -> None:
        self._settings = settings
        self._producer = producer
        self._connection = connection
        self._stream = f"{settings.redis_prefix}intake"
        self._replies = f"{self._stream}:replies"
        self._refused = f"{self._stream}:refused"
        self._queue_max = settings.queue_max
        self._result_ttl = settings.result_ttl
        self._consumer = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._here: set[str] = set()

    async def run(self) -> None:
        while True:
            found = 0
            try:
                found = await self.once()
            except LedgerUnavailable as exc:
                logger.warning("intake: Redis is away", error=str(exc))
            except Exception:
                logger.exception("intake: unexpected error; it goes on")
            if not found:
                await asyncio.sleep(POLL_S * random.uniform(0.67, 1.33))  # noqa: S311  jitter

    async def once(self) -> int:
        """Handle what is there now, at most AT_ONCE entries; how many there were. Raises LedgerUnavailable."""
        await self._producer.ledger.meet()  # an entry taken in vain counts as one that ended its taker
        entries = [entry for entry in await self._take() if entry.id not in self._here]
        self._here.update(entry.id for entry in entries)
        try:
            answers = await asyncio.gather(*(self._handle(entry) for entry in entries), return_exceptions=True)
        finally:
            self._here.difference_update(entry.id for entry in entries)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return len(entries)

    async def _take(self) -> list[Entry]:
        refused, entries = await self._connection.script(
            "intake",
            [self._stream, self._replies],
            [
                *(GROUP, self._consumer, AT_ONCE, int(CLAIM_S * 1000), MOST_BYTES),
                int(UNFINISHED_TTL.total_seconds() * 1000),
                *(self._queue_max, QueueFull.code, f"{self._queue_max} entries wait already (STT_QUEUE_MAX)"),
                *(REPLIES_KEPT, int(self._result_ttl.total_seconds() * 1000)),
            ],
        )
        if refused:
            logger.warning("intake: flooded, newest entries refused", entries=refused)
        return [_entry(item) for item in entries]

    async def _handle(self, entry: Entry) -> None:
        """Raises LedgerUnavailable; the entry then stays, and is taken again later."""
        try:
            request = read_request(entry)
            check(request.spec, self._settings)
            created = await self._producer.submit(request.spec, again=request.again, idempotency_key=request.key)
        except LedgerUnavailable:
            raise
        except SttError as exc:
            logger.warning("intake: entry refused", entry=entry.id, code=exc.code, reason=str(exc))
            await self._answer(entry, {"refused": exc.code, "reason": str(exc)[:1000]})
        except Exception as exc:
            # One entry's bug must not stop the others; the reply and the log tell it.
            logger.exception("intake: entry refused on an unexpected error", entry=entry.id)
            await self._answer(entry, {"refused": "internal", "reason": f"unexpected {type(exc).__name__}"})
        else:
            await self._answer(entry, {"job": created.job_id, "state": created.state.value})

    async def _answer(self, entry: Entry, facts: dict[str, str]) -> None:
        def queue(pipeline: Any) -> None:
            pipeline.xadd(self._replies, {"request": entry.id, **facts}, maxlen=REPLIES_KEPT, approximate=True)
            pipeline.pexpire(self._replies, self._result_ttl)
            if "refused" in facts:
                start = {name[:KEPT_BYTES]: value[:KEPT_BYTES] for name, value in list(entry.fields.items())[:8]}
                kept: dict[Any, Any] = {**start, "request": entry.id, **facts}
                pipeline.xadd(self._refused, kept, maxlen=REFUSED_KEPT, approximate=True)
                pipeline.pexpire(self._refused, self._result_ttl)
            pipeline.xack(self._stream, GROUP, entry.id)
            pipeline.xdel(self._stream, entry.id)

        await self._connection.many(queue)


def _entry(item: Sequence[Any]) -> Entry:
    """What `lua/intake.lua` gives for one entry."""
    raw = [bytes.fromhex(text[1:]) if text[0] == "x" else text[1:].encode() for text in item[2:]]
    return Entry(str(item[0]), int(item[1]), dict(zip(raw[::2], raw[1::2], strict=False)))


async def serve(settings: Settings) -> None:
    """Work on the intake until cancelled."""
    producer, connection = Producer(settings), Connection(settings.redis_url)
    try:
        await Intake(settings, producer, connection).run()
    finally:
        await connection.close()
        await producer.close()


def start_intake(settings: Settings, loop: LoopThread) -> Future[None]:
    """Beside the tasks of a worker process, on its event loop; ends when the future is cancelled."""
    return loop.submit(serve(settings))


__all__ = ["Entry", "Intake", "Request", "read_request", "serve", "start_intake"]
