"""Finds the streams of the intake: the shared stream, and one for each named producer."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog

from worker.ledger.connection import RedisConnection

logger = structlog.get_logger(__name__)
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The valid values of NAME in `intake:from:NAME`."""
SEARCH_S: Final = 5.0
"""Minimum seconds between two searches for new streams, counted over all processes together."""
SEARCH_SHARE: Final = 50
"""The pause after a search is at least this multiple of its duration, so that searches use at most 2 % of Redis's
time."""
SCAN_COUNT: Final = 1000
MAX_STREAMS: Final = 10_000
KNOWN_TTL_S: Final = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class IntakeStream:
    """One stream of the intake. Its keys include STT_REDIS_PREFIX."""

    name: str
    """Name of the producer; empty for the shared stream."""
    key: str
    replies: str
    """Key of the stream with the answers to all producers."""
    own_replies: str
    """Key of the stream with the answers to this producer alone, which may have no right to read the answers to others.
    Empty for the shared stream."""


class IntakeStreams:
    """Finds the streams `intake:from:NAME`, so that the settings need no list of them. Methods raise
    LedgerUnavailable."""

    def __init__(self, prefix: str, connection: RedisConnection) -> None:
        self._connection = connection
        self._root = f"{prefix}intake"
        self._known = f"{self._root}:streams"
        self.shared = self._stream("")
        self._found: list[IntakeStream] = []
        self._look_again = 0.0
        self._look_at_all = False
        self._refused: set[str] = set()

    def _stream(self, name: str) -> IntakeStream:
        key = f"{self._root}:from:{name}" if name else self._root
        replies = f"{self._root}:replies"
        return IntakeStream(name, key, replies, f"{replies}:{name}" if name else "")

    async def all(self) -> list[IntakeStream]:
        """Search for new streams if a search is due. Return all streams: first the shared stream, then the streams of
        the producers, sorted by name."""
        if time.monotonic() >= self._look_again:
            # Half of the pause between two searches, so that this process soon reads streams that other processes have
            # found.
            self._look_again = time.monotonic() + SEARCH_S / 2
            await self._search()
            (_, *self._found) = await self.known()
        return [self.shared, *self._found]

    async def known(self) -> list[IntakeStream]:
        """Return the streams that earlier searches found, in the order of `all`. Does not search or write to Redis."""
        names = await self._connection.call(lambda redis: redis.zrange(self._known, 0, MAX_STREAMS - 1))
        return [self.shared, *(self._stream(name) for name in sorted(names) if NAME.fullmatch(name))]

    async def filled(self) -> list[IntakeStream]:
        """Return the streams that may have entries, always including the shared stream. The first call after each
        search returns all streams, because an empty stream may have used up its ids and then needs a reset."""
        streams = await self.all()
        named = streams[1:]
        if not named:
            return streams
        if self._look_at_all:
            self._look_at_all = False
            return streams
        lengths = await self._connection.pipeline(lambda p: [p.xlen(stream.key) for stream in named], each=True)
        for stream, length in zip(named, lengths, strict=True):
            if isinstance(length, Exception):
                logger.error("intake: the key of a producer is not a stream", key=stream.key, error=str(length))
        return [self.shared, *(s for s, n in zip(named, lengths, strict=True) if not isinstance(n, Exception) and n)]

    async def _search(self) -> None:
        """Search Redis for streams and record them for all processes. Does nothing if another process is searching or
        has searched recently."""
        # No process searches until this key expires. During the search the key is a lock; after the search it is the
        # pause until the next search.
        turn = f"{self._root}:search"
        if not await self._connection.call(lambda redis: redis.set(turn, "1", nx=True, px=int(SEARCH_S * 1000))):
            return
        started, cursor, names = time.monotonic(), 0, set()
        pattern = f"{_literal(self._root)}:from:*"
        while True:
            cursor, keys = await self._connection.call(
                lambda redis, cursor=cursor: redis.scan(cursor, match=pattern, count=SCAN_COUNT, _type="stream")  # type: ignore[misc]
            )
            names |= {key.removeprefix(f"{self._root}:from:") for key in keys}
            if not int(cursor) or len(names) > MAX_STREAMS:
                break
        for name in names - self._refused:
            if not NAME.fullmatch(name):
                self._refused.add(name)
                logger.warning(
                    "intake: a stream is not read, its name must match [A-Za-z0-9._-]{1,64}", name=name[:100]
                )
        good = sorted(name for name in names if NAME.fullmatch(name))[:MAX_STREAMS]
        pause_ms = int(1000 * max(SEARCH_S, SEARCH_SHARE * (time.monotonic() - started)))
        now = time.time()

        def note(pipeline: Any) -> None:
            if good:
                pipeline.zadd(self._known, dict.fromkeys(good, now))
            pipeline.zremrangebyscore(self._known, "-inf", now - KNOWN_TTL_S)
            pipeline.expire(self._known, KNOWN_TTL_S)
            pipeline.pexpire(turn, pause_ms)

        await self._connection.pipeline(note)
        self._look_at_all = True


def _literal(text: str) -> str:
    """Escape the wildcards in `text` for a pattern of the Redis command SCAN."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", text)


__all__ = ["IntakeStream", "IntakeStreams"]
