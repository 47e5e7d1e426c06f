"""Jobs from programs in any language: entries of a Redis stream, checked before anything is done with them.

    XADD stt:intake * job '{"source": "/audio/call.wav", "out_dir": "/results"}'

| field   | holds                                                                       |
|---------|-----------------------------------------------------------------------------|
| `job`   | the fields of `tasks.job_spec.JobSpec`, JSON, at most MAX_BYTES                |
| `key`   | optional: an idempotency key, which becomes the job's id                    |
| `force` | optional: `1` runs a finished job again                                     |

Every entry is answered in the stream `intake:replies`: `request` is the id XADD gave, and with it either `job` (the id)
and `state`, or `refused` (a code of worker/errors.py) and `reason`. The start of a refused entry is also kept in the
stream `intake:refused`. Both are bounded and end. A process that dies in the middle leaves its entries to the others;
an entry done twice is one job all the same. Entries are independent: the order of the answers is not that of the
entries, and an entry that waits for a slow disk or server does not delay others.

A producer with a stream of its own, `intake:from:NAME`, is found by that name. The answers to it have the field `from`
and are in `intake:replies:NAME` as well.

| who                  | may                                          | is refused, or bounded                         |
|----------------------|----------------------------------------------|------------------------------------------------|
| a producer, by ACL:  | name jobs; each is checked here, again where | anything that is no JobSpec; entries above     |
| XADD to a stream of  | the source is opened, and where files are    | MAX_BYTES; floods above STT_QUEUE_MAX; one     |
| its own, or to       | written                                      | that ended MAX_DELIVERIES workers; sources     |
| `intake`             |                                              | that take longer than STT_INTAKE_TIMEOUT_S     |
| the same: XADD with  | remove all entries of that stream which no   | its own stream: the entries of others are not  |
| MAXLEN or a huge id  | worker has taken yet; use up its ids         | in it; ids: named, and the stream begins again |
| its key, or again    | name a job that is there already             | that of another producer: with a stream of its |
|                      |                                              | own one changes only jobs that it queued       |
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

Accepted entries are never dropped. Above STT_QUEUE_MAX entries in the stream the newest ones are refused, and with as
many jobs in the line every further one, with `queue_full`: the producer may add them again later.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

import structlog
from pydantic import ValidationError

from tasks.background.intake_producers import Stream, Streams
from tasks.client.producer import Producer
from tasks.event_loop import LoopThread
from tasks.job_spec import JobSpec, checked_key, job_id, problems
from worker.backoff import jittered
from worker.errors import BadJob, LedgerRefused, LedgerUnavailable, QueueFull, SourceNotFound, SttError, WorkerShortage
from worker.ledger.connection import RedisConnection
from worker.ledger.ledger import UNFINISHED_TTL, StateChange
from worker.settings import Settings
from worker.storage.access_policy import check_output, check_source, check_webhook
from worker.storage.sources.identify import SourceIdentifier

logger = structlog.get_logger(__name__)
GROUP: Final = "workers"
MAX_BYTES: Final = 65_536
FIELDS: Final = frozenset({"job", "key", "force"})
POLL_S: Final = 0.5
"""Seconds between two looks into an empty stream, give or take a third."""
AT_ONCE: Final = 32
"""Maximum entries of one stream per poll."""
MAX_ACTIVE: Final = 512
"""Maximum entries in work at the same time in one process."""
STREAM_ACTIVE: Final = 128
"""Maximum for one stream, so that a slow producer leaves room for the others."""
CLAIM_S: Final = 30.0
"""Seconds after the time limit of an entry until another process claims it."""
LONG_IDLE_MS: Final = 30 * 24 * 3600 * 1000
AWAY_S: Final = 2.0
"""Seconds until an entry is tried again while Redis is unreachable."""
RELEASE_S: Final = 1.0
MAX_DELIVERIES: Final = 5
"""An entry that was taken more often and never answered is refused: it may be what ends the processes."""
REPLIES_KEPT: Final = 100_000
REFUSED_KEPT: Final = 1_000
KEPT_BYTES: Final = 2_048
"""Of each field of a refused entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream, as Redis returns it."""

    id: str
    deliveries: int
    fields: dict[bytes, bytes]
    """Field values, truncated just above MAX_BYTES."""


@dataclass(frozen=True, slots=True)
class Request:
    """An entry that is in order."""

    spec: JobSpec
    key: str | None
    force: bool


def read_request(entry: Entry) -> Request:
    """Check an entry. Raises BadJob with every reason a person can do something about."""
    if entry.deliveries > MAX_DELIVERIES:
        raise BadJob(f"taken {entry.deliveries - 1} times and never answered: it may have ended the workers that did")
    fields: dict[str, str] = {}
    for raw_name, raw_value in entry.fields.items():
        name = raw_name.decode("ascii", "backslashreplace")[:100]
        if name not in FIELDS:
            raise BadJob(f"unknown field {name!r}; there are {', '.join(sorted(FIELDS))}")
        if len(raw_value) > MAX_BYTES:
            raise BadJob(f"field {name!r} has more than {MAX_BYTES} bytes")
        try:
            fields[name] = raw_value.decode()
        except UnicodeDecodeError:
            raise BadJob(f"field {name!r} is not UTF-8") from None
    if "job" not in fields:
        raise BadJob("field 'job' is missing: XADD … * job '{\"source\": \"/audio/call.wav\"}'")
    force = fields.get("force", "0")
    if force not in ("0", "1"):
        raise BadJob("field 'force' must be 0 or 1")
    try:
        spec = JobSpec.model_validate_json(fields["job"])
    except ValidationError as exc:
        raise BadJob(problems(exc)) from None
    for name, address in (("source", spec.source), *(("out_dir", folder) for folder in spec.out_dirs)):
        # The producer cannot know the folder that a relative path starts from.
        if address.is_file and not address.path.is_absolute():
            raise BadJob(f"{name}: must be an absolute path, as the workers see it")
    return Request(spec, fields.get("key"), force == "1")


def check(spec: JobSpec, settings: Settings) -> None:
    """Raises SourceRefused, OutputError or BadJob if the settings of this process do not allow the job."""
    check_source(spec.source, settings)
    for folder in spec.out_dirs:
        check_output(folder, settings)
    if spec.webhook is not None:
        check_webhook(spec.webhook, settings)


class Intake:
    """`run` goes on until it is cancelled. Belongs to the event loop of its producer."""

    def __init__(self, settings: Settings, producer: Producer, connection: RedisConnection) -> None:
        self._settings = settings
        self._producer = producer
        self._connection = connection
        self._streams = Streams(settings.redis_prefix, connection)
        self._identifier = SourceIdentifier(settings, settings.intake_timeout_s)
        self._refused = f"{settings.redis_prefix}intake:refused"
        self._queue_max = settings.queue_max
        self._result_ttl = settings.result_ttl
        self._consumer = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._here: dict[tuple[str, str], Stream] = {}
        """Entries in work, by the key of the stream and the id."""
        self._turn = 0

    async def run(self) -> None:
        """Run until cancelled. Each entry is a task of its own, so no entry waits for another one."""
        async with asyncio.TaskGroup() as group:
            while True:
                found = 0
                try:
                    for stream, entry in await self._take_fairly():
                        found += 1
                        group.create_task(self._work(stream, entry))
                except LedgerUnavailable as exc:
                    logger.warning("intake: no entries taken", error=str(exc))
                except Exception:
                    logger.exception("intake: unexpected error; it continues")
                if not found:
                    await asyncio.sleep(jittered(POLL_S))

    async def once(self) -> int:
        """Handle the present entries, at most AT_ONCE of each stream. Returns their number. Raises
        LedgerUnavailable."""
        entries = await self._take_fairly()
        try:
            answers = await asyncio.gather(*(self._handle(*item) for item in entries), return_exceptions=True)
        finally:
            for stream, entry in entries:
                self._here.pop((stream.key, entry.id), None)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return len(entries)

    async def release(self) -> None:
        """Release the entries in work, so that other processes can claim them at once. Call it after `run` ended."""
        left = list(self._here.items())

        def queue(pipeline: Any) -> None:
            for (_, entry_id), stream in left:
                # A long idle time, so that XAUTOCLAIM takes it; JUSTID does not count as a delivery.
                pipeline.xclaim(stream.key, GROUP, self._consumer, 0, [entry_id], idle=LONG_IDLE_MS, justid=True)

        if left:
            await self._connection.pipeline(queue, each=True)

    async def _take_fairly(self) -> list[tuple[Stream, Entry]]:
        """New entries of all streams, at most AT_ONCE of each. The first stream rotates, and no stream has more
        than STREAM_ACTIVE entries in work."""
        await (
            self._producer.ledger.check_schema()
        )  # an entry taken without being handled counts as a delivery that ended a worker
        streams = await self._streams.filled()
        self._turn += 1
        first = self._turn % len(streams)
        taken: list[tuple[Stream, Entry]] = []
        for stream in (*streams[first:], *streams[:first]):
            active = sum(1 for key, _ in self._here if key == stream.key)
            room = min(AT_ONCE, STREAM_ACTIVE - active, MAX_ACTIVE - len(self._here))
            if room <= 0:
                continue
            try:
                entries = await self._take(stream, room)
            except LedgerRefused as exc:
                logger.error("intake: a stream cannot be read", stream=stream.key, error=str(exc))  # noqa: TRY400
                continue
            new = [entry for entry in entries if (stream.key, entry.id) not in self._here]
            self._here |= {(stream.key, entry.id): stream for entry in new}
            taken += [(stream, entry) for entry in new]
        return taken

    async def _take(self, stream: Stream, count: int) -> list[Entry]:
        refused, entries, ahead = await self._connection.script(
            "intake",
            [key for key in (stream.key, stream.replies, stream.own_replies) if key],
            [
                *(GROUP, self._consumer, count, claim_ms(self._settings), MAX_BYTES),
                int(UNFINISHED_TTL.total_seconds() * 1000),
                *(self._queue_max, QueueFull.code, f"{self._queue_max} entries wait already (STT_QUEUE_MAX)"),
                *(REPLIES_KEPT, int(self._result_ttl.total_seconds() * 1000), stream.name),
            ],
        )
        if refused:
            logger.warning("intake: flooded, newest entries refused", stream=stream.key, entries=refused)
        if ahead:
            logger.error(
                "intake: a producer used up the ids of a stream: XADD may fail there until the stream is empty; it "
                "is then removed and starts over",
                stream=stream.key,
                producer=stream.name or "any with +xadd on the shared stream",
                last_id=ahead,
            )
        return [_entry(item) for item in entries]

    async def _work(self, stream: Stream, entry: Entry) -> None:
        """Handle an entry until it is answered. Waits while Redis is unreachable, and for a time during a shortage."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.intake_timeout_s
        while True:
            try:
                return await self._handle(stream, entry, patient=loop.time() < deadline)
            except WorkerShortage as exc:
                logger.warning("intake: an entry waits for lack of resources", entry=entry.id, error=str(exc))
            except LedgerRefused as exc:
                logger.error("intake: an entry cannot be answered", entry=entry.id, error=str(exc))  # noqa: TRY400
                self._here.pop((stream.key, entry.id), None)
                return None
            except LedgerUnavailable as exc:
                logger.warning("intake: an entry waits because Redis is unreachable", error=str(exc))
            await asyncio.sleep(jittered(AWAY_S))

    async def _handle(self, stream: Stream, entry: Entry, *, patient: bool = False) -> None:
        """Raises LedgerUnavailable, and if `patient` WorkerShortage; the entry then stays."""
        try:
            request = read_request(entry)
            check(request.spec, self._settings)
            created = await self._submit(stream, request)
        except LedgerUnavailable as exc:
            if not isinstance(exc, LedgerRefused):
                raise
            logger.error("intake: entry refused", entry=entry.id, error=str(exc))  # noqa: TRY400
            await self._answer(stream, entry, {"refused": exc.code, "reason": str(exc)[:1000]})
        except SttError as exc:
            if patient and isinstance(exc, WorkerShortage):
                raise
            logger.warning("intake: entry refused", entry=entry.id, code=exc.code, reason=str(exc))
            await self._answer(stream, entry, {"refused": exc.code, "reason": str(exc)[:1000]})
        except Exception as exc:
            # One entry's bug must not stop the others; the reply and the log tell it.
            logger.exception("intake: entry refused on an unexpected error", entry=entry.id)
            await self._answer(stream, entry, {"refused": "internal", "reason": f"unexpected {type(exc).__name__}"})
        else:
            await self._answer(stream, entry, {"job": created.job_id, "state": created.state.value})

    async def _submit(self, stream: Stream, request: Request) -> StateChange:
        spec = request.spec
        if request.key is not None:
            identity = checked_key(request.key)
        else:
            try:
                content, mark = await self._identifier.content_of(spec.source, lane=stream.name)
            except SourceNotFound as exc:
                raise SourceNotFound(f"{exc}; for a file that only workers can read, give a key") from None
            identity = job_id(spec, content)
            self._producer.identified.note(identity, content)
            if mark is not None:
                self._producer.note_read(spec.source.text, mark, content)
        (created,) = await self._producer.enqueue(
            [(identity, spec)], batch=spec.batch, force=request.force, producer=stream.name
        )
        return created

    async def _answer(self, stream: Stream, entry: Entry, facts: dict[str, str]) -> None:
        ours = {"request": entry.id, **facts, **({"from": stream.name} if stream.name else {})}

        def queue(pipeline: Any) -> None:
            for replies in filter(None, (stream.replies, stream.own_replies)):
                pipeline.xadd(replies, ours, maxlen=REPLIES_KEPT, approximate=True)
                pipeline.pexpire(replies, self._result_ttl)
            if "refused" in facts:
                start = {name[:KEPT_BYTES]: value[:KEPT_BYTES] for name, value in list(entry.fields.items())[:8]}
                kept: dict[Any, Any] = {**start, **ours}
                pipeline.xadd(self._refused, kept, maxlen=REFUSED_KEPT, approximate=True)
                pipeline.pexpire(self._refused, self._result_ttl)
            pipeline.xack(stream.key, GROUP, entry.id)
            pipeline.xdel(stream.key, entry.id)

        await self._connection.pipeline(queue)
        self._here.pop((stream.key, entry.id), None)


def claim_ms(settings: Settings) -> int:
    """Milliseconds after which an entry of another process is claimed: longer than one entry may take."""
    return int((settings.intake_timeout_s + CLAIM_S) * 1000)


def _entry(item: Sequence[Any]) -> Entry:
    """What `lua/intake.lua` gives for one entry."""
    raw = [bytes.fromhex(text[1:]) if text[0] == "x" else text[1:].encode() for text in item[2:]]
    return Entry(str(item[0]), int(item[1]), dict(zip(raw[::2], raw[1::2], strict=False)))


async def serve(settings: Settings) -> None:
    """Work on the intake until cancelled."""
    producer, connection = Producer(settings), RedisConnection(settings.redis_url)
    intake = Intake(settings, producer, connection)
    try:
        await intake.run()
    finally:
        with suppress(LedgerUnavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await intake.release()
        await connection.close()
        await producer.close()


def start_intake(settings: Settings, loop: LoopThread) -> Future[None]:
    """Beside the tasks of a worker process, on its event loop; ends when the future is cancelled."""
    return loop.submit(serve(settings))


__all__ = ["Entry", "Intake", "Request", "read_request", "serve", "start_intake"]
