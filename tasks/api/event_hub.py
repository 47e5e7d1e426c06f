"""Distributes the changes of jobs to the clients of one API process.

One connection reads the event stream of Redis. An event of a job only wakes the feed of that job, which then reads the
new commits from the ledger once for all of its followers. So no commit depends on an event: events may be lost, and a
feed also reads the ledger at intervals.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import structlog

from tasks.api.problems import Problem
from tasks.client.producer import Producer
from worker.backoff import jittered
from worker.errors import LedgerNewer, LedgerUnavailable
from worker.ledger.connection import RedisConnection
from worker.ledger.ledger import CommitEntry, JobRecord
from worker.settings import Settings

_log: Final = structlog.get_logger(__name__)
MAX_FOLLOWERS: Final = 10_000
"""Maximum number of followers of one process."""
MAX_TAIL: Final = 500
"""Maximum number of the newest commits of a job in memory. A follower further behind reads the ledger itself."""
BLOCK_MS: Final = 2_000
POLL_S: Final = 2.0
"""Seconds between two reads of the ledger by a feed that gets no events."""
POLLS_PER_S: Final = 100
"""Maximum of such reads a second, by all feeds together."""
MAX_BACKLOG: Final = 1_000
"""Maximum number of events that wait for one listener; older ones are dropped."""
RETRY_S: Final = 1.0

Fields = Mapping[str, str]


def position(stream_id: str) -> tuple[int, int]:
    """Return a stream id of Redis as numbers, which can be compared."""
    first, _, second = stream_id.partition("-")
    return int(first), int(second or 0)


class JobFeed:
    """The newest state and commits of one job, for all of its followers."""

    def __init__(self, job_id: str, after: str, record: JobRecord) -> None:
        """`after`: stream id after which the feed reads commits."""
        self.job_id, self.record = job_id, record
        self.gone = False
        """Whether the record of the job has expired."""
        self.fresh = False
        """Whether the ledger was read since the feed was created."""
        self.progress: Fields = {}
        self.version = 0
        self.followers = 0
        self.first = after
        """All commits after this stream id, up to `last`, are in `tail`."""
        self.last = after
        self.tail: deque[CommitEntry] = deque()
        self.wake = asyncio.Event()
        """Set when the ledger may have news."""
        self._changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        return self.gone or self.record.state.ended

    def newer(self, after: str) -> list[CommitEntry] | None:
        """Return the commits after the stream id `after`, or None if some of them are not in memory."""
        start = position(after)
        if start < position(self.first):
            return None
        return [entry for entry in self.tail if position(entry.stream_id) > start]

    def start_at(self, after: str) -> None:
        """Read again from the stream id `after` if that is earlier and no commit is in memory. Without this, a follower
        with an id from the future would delay the others. Such ids exist after Redis has lost data."""
        if not self.tail and position(after) < position(self.first):
            self.first = self.last = after
            self.fresh = False
            self.wake.set()

    def add(self, entries: list[CommitEntry]) -> None:
        for entry in entries:
            self.tail.append(entry)
            self.last = entry.stream_id
            if len(self.tail) > MAX_TAIL:
                self.first = self.tail.popleft().stream_id

    def changed(self) -> None:
        """Wake all followers."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, version: int, timeout_s: float) -> bool:
        """Wait until the version differs from `version`. Returns False after `timeout_s` seconds."""
        if self.version != version:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
                return True
        return False


class EventHub:
    """Reads the event stream and owns the feeds. Belongs to the event loop of the producer."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self._producer = producer
        self._key = producer.events.key
        # An own connection, since it is blocked most of the time.
        self._connection = RedisConnection(settings.redis_url, retries=0)
        self._feeds: dict[str, tuple[JobFeed, asyncio.Task[None]]] = {}
        self._listeners: dict[int, deque[Fields]] = {}
        self._heard = asyncio.Event()
        self._count = 0
        self.closing = asyncio.Event()

    @property
    def followers(self) -> int:
        return self._count

    def close(self) -> None:
        """End all followers."""
        self.closing.set()
        for feed, _ in self._feeds.values():
            feed.changed()
        self._heard.set()

    async def closed(self) -> None:
        """Stop the feeds and close the connection. Call `close` before."""
        tasks = [task for _, task in self._feeds.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.close()

    async def run(self) -> None:
        """Read the event stream until cancelled."""
        last = ""
        while True:
            try:
                last = last or await self._newest()
                answer = await self._connection.call(
                    lambda redis, last=last: redis.xread({self._key: last}, count=500, block=BLOCK_MS)  # type: ignore[misc]
                )
            except LedgerUnavailable as exc:
                _log.warning("events: none read, followers wait for Redis", error=str(exc))
                await asyncio.sleep(jittered(RETRY_S))
                continue
            for stream_id, fields in _entries(answer):
                last = stream_id
                self._tell(fields)

    async def _newest(self) -> str:
        entries = await self._connection.call(lambda redis: redis.xrevrange(self._key, count=1))
        return str(entries[0][0]) if entries else "0-0"

    def _tell(self, fields: Fields) -> None:
        found = self._feeds.get(fields.get("job", ""))
        if found is not None:
            feed = found[0]
            if fields.get("event") == "progress":
                feed.progress = fields
                feed.changed()
            else:
                feed.wake.set()
        for listener in self._listeners.values():
            listener.append(fields)
        if self._listeners:
            self._heard.set()
            self._heard = asyncio.Event()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._count >= MAX_FOLLOWERS or self.closing.is_set():
            reason = "this server stops" if self.closing.is_set() else f"{MAX_FOLLOWERS} clients follow events already"
            raise Problem(
                503, f"{reason}; connect again later", code="too_many_followers", headers={"Retry-After": "1"}
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    @asynccontextmanager
    async def follow(self, record: JobRecord, after: str = "0") -> AsyncIterator[JobFeed]:
        """Return the feed of a job. `after`: stream id of the last commit that the caller knows. Raises Problem 503
        if too many clients follow."""
        with self._counted():
            found = self._feeds.get(record.id)
            if found is None:
                feed = JobFeed(record.id, after, record)
                feed.wake.set()
                self._feeds[record.id] = feed, asyncio.create_task(self._read(feed))
            else:
                feed = found[0]
                feed.start_at(after)
            feed.followers += 1
            try:
                yield feed
            finally:
                feed.followers -= 1
                if not feed.followers:
                    self._feeds.pop(record.id)[1].cancel()

    async def listen(self, timeout_s: float) -> AsyncIterator[Fields | None]:
        """Yield the events of all jobs from now on; None after `timeout_s` seconds without an event. A slow caller
        misses events. Ends when the hub is closed."""
        mine: deque[Fields] = deque(maxlen=MAX_BACKLOG)
        with self._counted():
            self._listeners[id(mine)] = mine
            try:
                while not self.closing.is_set():
                    if mine:
                        yield mine.popleft()
                        continue
                    try:
                        async with asyncio.timeout(timeout_s):
                            await self._heard.wait()
                    except TimeoutError:
                        yield None
            finally:
                del self._listeners[id(mine)]

    async def _read(self, feed: JobFeed) -> None:
        """Read the news of a job from the ledger whenever an event wakes the feed, and at intervals."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(jittered(max(POLL_S, len(self._feeds) / POLLS_PER_S))):
                    await feed.wake.wait()
            feed.wake.clear()
            try:
                await self._refresh(feed)
            except LedgerNewer:
                feed.gone = True
                feed.changed()
            except LedgerUnavailable:
                await asyncio.sleep(jittered(RETRY_S))

    async def _refresh(self, feed: JobFeed) -> None:
        # The record first: if it has ended, all commits are there when they are read.
        start = feed.last
        record = await self._producer.ledger.get(feed.job_id)
        entries = [entry async for entry in self._producer.ledger.commits(feed.job_id, after=start)]
        if feed.last != start:  # a follower began further behind; its `start_at` also wakes the feed
            return
        before = (feed.record.state, feed.record.attempts, feed.record.paused, feed.gone)
        if record is None:
            feed.gone = True
        else:
            feed.record, feed.gone = record, False
        feed.add(entries)
        first, feed.fresh = not feed.fresh, True
        if first or entries or (feed.record.state, feed.record.attempts, feed.record.paused, feed.gone) != before:
            feed.changed()


def _entries(answer: object) -> list[tuple[str, dict[str, str]]]:
    """Return the entries in an answer to XREAD of one stream. The form of the answer depends on the protocol."""
    if isinstance(answer, dict):
        return [
            entry for part in answer.values() for entry in (part[0] if part and isinstance(part[0], list) else part)
        ]
    return [entry for _, entries in answer or () for entry in entries]  # type: ignore[attr-defined]


__all__ = ["EventHub", "JobFeed", "position"]
