"""Suppresses repeated log lines, such as those of a program that tries to reconnect to an unreachable server.

The first MAX_EQUAL_LINES equal lines within WINDOW_S seconds are written. The others are counted, and the count is
written as a separate line with the first record after that time. Lines are equal if logger, level, message and values
are equal; so lines that name different jobs are not equal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

MAX_EQUAL_LINES: Final = 3
WINDOW_S: Final = 60.0
MAX_DIFFERENT_LINES: Final = 256
"""Maximum number of different lines in memory. With more, the oldest is forgotten after its count was written."""

Key = tuple[str, int, str, str]


@dataclass(slots=True)
class _Seen:
    first: logging.LogRecord
    at: float
    times: int = field(default=1)


class LogDeduplicator:
    """Filters the records of one handler. Not thread-safe: the handler calls it under its lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds of a monotonic clock."""
        self._clock = clock
        self._seen: dict[Key, _Seen] = {}

    def filter(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """Yield the records to write when `record` arrives: the counts that are due, and `record` itself unless it is a
        repetition.

        Records of level debug are always written, because at that level users want every line.
        """
        now = self._clock()
        while self._seen and (
            now - next(iter(self._seen.values())).at >= WINDOW_S or len(self._seen) > MAX_DIFFERENT_LINES
        ):
            yield from self._close(next(iter(self._seen)), now)
        if record.levelno <= logging.DEBUG:
            yield record
            return
        key = record.name, record.levelno, repr(record.msg), repr(record.args)
        seen = self._seen.setdefault(key, _Seen(record, now, times=0))
        seen.times += 1
        if seen.times <= MAX_EQUAL_LINES:
            yield record

    def _close(self, key: Key, now: float) -> Iterator[logging.LogRecord]:
        seen = self._seen.pop(key)
        if seen.times > MAX_EQUAL_LINES:
            yield _counted(seen, f"{seen.times - MAX_EQUAL_LINES} times more within {now - seen.at:.0f} s")


def _counted(seen: _Seen, how_often: str) -> logging.LogRecord:
    """Return a record like the first of the equal records. The new record has the count before its message, and no
    traceback."""
    old = seen.first
    # An event of structlog is a dict until it is written.
    words = old.msg if isinstance(old.msg, dict) else {"event": old.getMessage()}
    made = logging.makeLogRecord({**old.__dict__, "args": None, "exc_info": None, "exc_text": None})
    made.created = time.time()
    text = f"{how_often}: {words.get('event', '')}"
    made.msg = {**words, "event": text, "exc_info": None} if isinstance(old.msg, dict) else text
    return made


__all__ = ["MAX_DIFFERENT_LINES", "MAX_EQUAL_LINES", "WINDOW_S", "LogDeduplicator"]
