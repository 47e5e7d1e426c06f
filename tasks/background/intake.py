"""The intake: accepts jobs from programs in any language as entries of a Redis stream, and validates every entry.

    XADD stt:intake * job '{"source": "/audio/call.wav", "out_dir": "/results"}'

| field   | content                                                                     |
|---------|-----------------------------------------------------------------------------|
| `job`   | the fields of `tasks.job_spec.JobSpec` as JSON, at most MAX_BYTES           |
| `key`   | optional: an idempotency key, which becomes the job's id                    |
| `force` | optional: `1` runs a finished job again                                     |

Every entry is answered in the stream `intake:replies`. The answer contains `request`, the id that XADD returned, and
either `job` (the id) and `state`, or `refused` (a code of worker/errors.py) and `reason`. The start of a refused entry
is also stored in the stream `intake:refused`. Both streams are bounded and expire. If a process dies, other processes
claim its entries; an entry that is handled twice still creates one job. Entries are independent: answers may come in
another order, and an entry that waits for a slow disk or server does not delay others.

The intake finds the stream `intake:from:NAME` of the producer NAME by itself. Answers to it have the field `from` and
are also in the stream `intake:replies:NAME`.

Rights and limits of each party:

| party                | may                                          | limits                                         |
|----------------------|----------------------------------------------|------------------------------------------------|
| producer with an ACL | queue jobs; each is checked here, and again  | refused: entries that are not a JobSpec,       |
| for XADD to          | when the source is opened and the files are  | entries above MAX_BYTES, floods above          |
| `intake` or to a     | written                                      | STT_QUEUE_MAX, an entry that ended             |
| stream of its own    |                                              | MAX_DELIVERIES workers, sources that take      |
|                      |                                              | longer than STT_INTAKE_TIMEOUT_S               |
| the same producer,   | remove entries of that stream that no worker | a stream of its own has no entries of other    |
| by MAXLEN or by an   | has taken yet; use up the ids of the stream, | producers; used-up ids are logged, and the     |
| entry with a huge id | so that XADD fails                           | stream is reset when it is empty               |
| `key` and `force`    | name an existing job                         | a producer with a stream of its own can only   |
|                      |                                              | change jobs that it queued                     |
| path of a source     | name files below STT_ALLOWED_SOURCES         | refused: `..`, links that lead outside,        |
|                      |                                              | devices, pipes, files above STT_SOURCE_MAX_GB  |
| address of a source  | name web servers and buckets                 | refused: private addresses, also behind a host |
|                      |                                              | name or a redirect; passwords in the address;  |
|                      |                                              | endless downloads                              |
| content of a source  | be any data, which is not trusted            | STT_SOURCE_MAX_HOURS and _CHANNELS, checked    |
|                      |                                              | while reading, even if the header claims less  |
| outputs of a job     | name places below STT_ALLOWED_OUTPUTS        | refused: `out_name` with `..`, web addresses   |
| webhook of a job     | receive a signed notification of its end     | refused: private addresses, redirects, long    |
|                      |                                              | answers                                        |
| producer with an ACL | read replies and events: paths, ids, and     | they contain no API key and no query of a      |
| for XREAD            | the text in `events`                         | signed address                                 |
| clients that may     | queue any job without this intake, as Celery | the worker applies the same checks and         |
| write to the queue   | messages; end or change jobs                 | settings                                       |
| or `job:*`           |                                              |                                                |
| clients that may     | read every transcript                        | give this right to workers only                |
| read all keys        |                                              |                                                |
| real-time service    | receive the audio, and answer anything       | refused: malformed messages; it cannot end a   |
|                      |                                              | worker or write into another job               |

Accepted entries are never dropped. With more than STT_QUEUE_MAX entries in the stream the newest ones are refused with
`queue_full`, and so is every entry while STT_QUEUE_MAX jobs wait. The producer may add them again later.
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

from tasks.background.intake_producers import IntakeStream, IntakeStreams
from tasks.client.producer import Producer
from tasks.event_loop import LoopThread
from tasks.job_spec import JobSpec, checked_key, job_id, problems
from worker.backoff import jittered
from worker.errors import BadJob, LedgerRefused, LedgerUnavailable, QueueFull, SourceNotFound, SttError, WorkerShortage
from worker.ledger.connection import RedisConnection
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.ledger import StateChange
from worker.settings import Settings
from worker.storage.access_policy import check_output, check_source, check_webhook
from worker.storage.sources.identify import SourceIdentifier

logger = structlog.get_logger(__name__)
GROUP: Final = "workers"
MAX_BYTES: Final = 65_536
FIELDS: Final = frozenset({"job", "key", "force"})
POLL_S: Final = 0.5
"""Seconds between two polls of empty streams, plus or minus a third."""
MAX_PER_POLL: Final = 32
"""Maximum number of entries that one poll reads from one stream."""
MAX_ACTIVE: Final = 512
"""Maximum number of entries that one process handles at the same time."""
MAX_ACTIVE_PER_STREAM: Final = 128
"""Maximum number of entries of one stream that one process handles at the same time, so that the slow sources of one
producer do not block other producers."""
CLAIM_MARGIN_S: Final = 30.0
"""Another process may claim an entry this many seconds after the time limit of the entry (STT_INTAKE_TIMEOUT_S)."""
LONG_IDLE_MS: Final = 30 * 24 * 3600 * 1000
REDIS_RETRY_S: Final = 2.0
"""Seconds between two tries to handle an entry, while Redis is unreachable or this process lacks resources."""
RELEASE_S: Final = 1.0
MAX_DELIVERIES: Final = 5
"""Maximum number of deliveries of an entry that was never answered. After these it is refused, because handling it may
have ended the processes."""
MAX_REPLIES: Final = 100_000
MAX_REFUSED: Final = 1_000
MAX_STORED_FIELD_BYTES: Final = 2_048
"""Maximum bytes of each field of a refused entry in `intake:refused`."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of a stream, as Redis returns it."""

    id: str
    deliveries: int
    fields: dict[bytes, bytes]
    """Field values, truncated just above MAX_BYTES."""


@dataclass(frozen=True, slots=True)
class Request:
    """The content of a valid entry: a job, its idempotency key if there is one, and whether to run it again."""

    spec: JobSpec
    key: str | None
    force: bool


def read_request(entry: StreamEntry) -> Request:
    """Validate an entry. Raises BadJob with the invalid fields and their reasons."""
    if entry.deliveries > MAX_DELIVERIES:
        raise BadJob(
            f"delivered {entry.deliveries - 1} times and never answered: it may have ended the workers that handled it"
        )
    fields: dict[str, str] = {}
    for raw_name, raw_value in entry.fields.items():
        name = raw_name.decode("ascii", "backslashreplace")[:100]
        if name not in FIELDS:
            raise BadJob(f"unknown field {name!r}; known fields: {', '.join(sorted(FIELDS))}")
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
        # A relative path would start from the working folder of this process, which the producer cannot know.
        if address.is_file and not address.path.is_absolute():
            raise BadJob(f"{name}: must be an absolute path, as the workers see it")
    return Request(spec, fields.get("key"), force == "1")


def check(spec: JobSpec, settings: Settings) -> None:
    """Check that the settings of this process allow the job. Raises SourceRefused, OutputError or BadJob."""
    check_source(spec.source, settings)
    for folder in spec.out_dirs:
        check_output(folder, settings)
    if spec.webhook is not None:
        check_webhook(spec.webhook, settings)


class Intake:
    """Reads entries from the streams, handles and answers them. Belongs to the event loop of its producer."""

    def __init__(self, settings: Settings, producer: Producer, connection: RedisConnection) -> None:
        self._settings = settings
        self._producer = producer
        self._connection = connection
        self._streams = IntakeStreams(settings.redis_prefix, connection)
        self._identifier = SourceIdentifier(settings, settings.intake_timeout_s)
        self._refused = f"{settings.redis_prefix}intake:refused"
        self._queue_max = settings.queue_max
        self._result_ttl = settings.result_ttl
        self._consumer = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._active: dict[tuple[str, str], IntakeStream] = {}
        """The stream of each entry that is being handled, by the key of the stream and the id of the entry."""
        self._turn = 0

    async def run(self) -> None:
        """Read and handle entries until cancelled. Each entry has its own asyncio task, so no entry waits for another
        one."""
        async with asyncio.TaskGroup() as group:
            while True:
                found = 0
                try:
                    for stream, entry in await self._read_fairly():
                        found += 1
                        group.create_task(self._work(stream, entry))
                except LedgerUnavailable as exc:
                    logger.warning("intake: no entries read", error=str(exc))
                except Exception:
                    logger.exception("intake: unexpected error; reading continues")
                if not found:
                    await asyncio.sleep(jittered(POLL_S))

    async def once(self) -> int:
        """Poll once and handle the entries, at most MAX_PER_POLL of each stream. Returns the number of entries. Raises
        LedgerUnavailable."""
        entries = await self._read_fairly()
        try:
            answers = await asyncio.gather(*(self._handle(*item) for item in entries), return_exceptions=True)
        finally:
            for stream, entry in entries:
                self._active.pop((stream.key, entry.id), None)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return len(entries)

    async def release(self) -> None:
        """Release the entries being handled, so that other processes can claim them at once. Call this after `run` has
        ended."""
        left = list(self._active.items())

        def queue(pipeline: Any) -> None:
            for (_, entry_id), stream in left:
                # Set a long idle time, so that the next XAUTOCLAIM of another process takes the entry at once. With
                # JUSTID, Redis does not count this XCLAIM as a delivery.
                pipeline.xclaim(stream.key, GROUP, self._consumer, 0, [entry_id], idle=LONG_IDLE_MS, justid=True)

        if left:
            await self._connection.pipeline(queue, each=True)

    async def _read_fairly(self) -> list[tuple[IntakeStream, StreamEntry]]:
        """Read new entries of all streams, at most MAX_PER_POLL of each stream. The number of entries that are handled
        at the same time is also limited. Each poll begins with another stream, so that no stream is always last."""
        # Fail before the read, because a read counts as a delivery of the entry (see MAX_DELIVERIES).
        await self._producer.ledger.check_schema()
        streams = await self._streams.filled()
        self._turn += 1
        first = self._turn % len(streams)
        taken: list[tuple[IntakeStream, StreamEntry]] = []
        for stream in (*streams[first:], *streams[:first]):
            active = sum(1 for key, _ in self._active if key == stream.key)
            room = min(MAX_PER_POLL, MAX_ACTIVE_PER_STREAM - active, MAX_ACTIVE - len(self._active))
            if room <= 0:
                continue
            try:
                entries = await self._read(stream, room)
            except LedgerRefused as exc:
                logger.error("intake: a stream cannot be read", stream=stream.key, error=str(exc))  # noqa: TRY400
                continue
            new = [entry for entry in entries if (stream.key, entry.id) not in self._active]
            self._active |= {(stream.key, entry.id): stream for entry in new}
            taken += [(stream, entry) for entry in new]
        return taken

    async def _read(self, stream: IntakeStream, count: int) -> list[StreamEntry]:
        refused, entries, ahead = await self._connection.script(
            "intake",
            [key for key in (stream.key, stream.replies, stream.own_replies) if key],
            [
                *(GROUP, self._consumer, count, claim_ms(self._settings), MAX_BYTES),
                int(UNFINISHED_TTL.total_seconds() * 1000),
                *(self._queue_max, QueueFull.code, f"{self._queue_max} entries wait already (STT_QUEUE_MAX)"),
                *(MAX_REPLIES, int(self._result_ttl.total_seconds() * 1000), stream.name),
            ],
        )
        if refused:
            logger.warning("intake: flooded, newest entries refused", stream=stream.key, entries=refused)
        if ahead:
            logger.error(
                "intake: a producer used up the ids of a stream: XADD may fail until the stream is empty and is reset",
                stream=stream.key,
                producer=stream.name or "any with +xadd on the shared stream",
                last_id=ahead,
            )
        return [_entry(item) for item in entries]

    async def _work(self, stream: IntakeStream, entry: StreamEntry) -> None:
        """Handle an entry until it is answered. Retries while Redis is unreachable, and for at most
        STT_INTAKE_TIMEOUT_S while this process lacks resources such as disk space."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.intake_timeout_s
        while True:
            try:
                return await self._handle(stream, entry, retry_shortage=loop.time() < deadline)
            except WorkerShortage as exc:
                logger.warning("intake: an entry waits for lack of resources", entry=entry.id, error=str(exc))
            except LedgerRefused as exc:
                logger.error("intake: an entry cannot be answered", entry=entry.id, error=str(exc))  # noqa: TRY400
                self._active.pop((stream.key, entry.id), None)
                return None
            except LedgerUnavailable as exc:
                logger.warning("intake: an entry waits because Redis is unreachable", error=str(exc))
            await asyncio.sleep(jittered(REDIS_RETRY_S))

    async def _handle(self, stream: IntakeStream, entry: StreamEntry, *, retry_shortage: bool = False) -> None:
        """Handle and answer an entry. Raises LedgerUnavailable; the entry is then not answered. `retry_shortage`: for a
        shortage, raise WorkerShortage without an answer, so that the caller retries. Otherwise the entry is refused."""
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
            if retry_shortage and isinstance(exc, WorkerShortage):
                raise
            logger.warning("intake: entry refused", entry=entry.id, code=exc.code, reason=str(exc))
            await self._answer(stream, entry, {"refused": exc.code, "reason": str(exc)[:1000]})
        except Exception as exc:
            # An unexpected error of one entry must not stop other entries. The reply and the log report the error.
            logger.exception("intake: entry refused on an unexpected error", entry=entry.id)
            await self._answer(stream, entry, {"refused": "internal", "reason": f"unexpected {type(exc).__name__}"})
        else:
            await self._answer(stream, entry, {"job": created.job_id, "state": created.state.value})

    async def _submit(self, stream: IntakeStream, request: Request) -> StateChange:
        spec = request.spec
        if request.key is not None:
            identity = checked_key(request.key, "key")
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

    async def _answer(self, stream: IntakeStream, entry: StreamEntry, facts: dict[str, str]) -> None:
        ours = {"request": entry.id, **facts, **({"from": stream.name} if stream.name else {})}

        def queue(pipeline: Any) -> None:
            for replies in filter(None, (stream.replies, stream.own_replies)):
                pipeline.xadd(replies, ours, maxlen=MAX_REPLIES, approximate=True)
                pipeline.pexpire(replies, self._result_ttl)
            if "refused" in facts:
                start = {
                    name[:MAX_STORED_FIELD_BYTES]: value[:MAX_STORED_FIELD_BYTES]
                    for name, value in list(entry.fields.items())[:8]
                }
                kept: dict[Any, Any] = {**start, **ours}
                pipeline.xadd(self._refused, kept, maxlen=MAX_REFUSED, approximate=True)
                pipeline.pexpire(self._refused, self._result_ttl)
            pipeline.xack(stream.key, GROUP, entry.id)
            pipeline.xdel(stream.key, entry.id)

        await self._connection.pipeline(queue)
        self._active.pop((stream.key, entry.id), None)


def claim_ms(settings: Settings) -> int:
    """Return the idle time in ms after which this process claims an entry that another process has read and not
    answered. The idle time is longer than the time limit of an entry."""
    return int((settings.intake_timeout_s + CLAIM_MARGIN_S) * 1000)


def _entry(item: Sequence[Any]) -> StreamEntry:
    """Parse one entry of the result of `lua/intake.lua`."""
    raw = [bytes.fromhex(text[1:]) if text[0] == "x" else text[1:].encode() for text in item[2:]]
    return StreamEntry(str(item[0]), int(item[1]), dict(zip(raw[::2], raw[1::2], strict=False)))


async def serve(settings: Settings) -> None:
    """Run the intake with its own Redis connections until cancelled."""
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
    """Run the intake of a worker process on its event loop. Cancel the future to end it."""
    return loop.submit(serve(settings))


__all__ = ["Intake", "Request", "StreamEntry", "read_request", "serve", "start_intake"]
