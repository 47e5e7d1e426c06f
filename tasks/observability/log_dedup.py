"""Log lines that say the same again and again, such as those of a program that tries to reach a server that is away.

The first FREE of them within WINDOW_S are written, the others counted, and the count is a line of its own when that
time is over. The same means: the same logger, level, words and values; a line that names another job is another line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

FREE: Final = 3
WINDOW_S: Final = 60.0
KINDS: Final = 256
"""Different lines that are remembered; with more of them the oldest is forgotten."""

Key = tuple[str, int, str, str]


@dataclass(slots=True)
class _Seen:
    first: logging.LogRecord
    at: float
    times: int = field(default=1)


class Repeats:
    """Of one handler; called under its lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds."""
        self._clock = clock
        self._seen: dict[Key, _Seen] = {}

    def pass_on(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """The records to write when `record` arrives: due counts, and `record` itself unless it is a repetition.

        Records of level debug are never counted: at that level users want every line.
        """
        now = self._clock()
        while self._seen and (now - next(iter(self._seen.values())).at >= WINDOW_S or len(self._seen) > KINDS):
            yield from self._close(next(iter(self._seen)), now)
        if record.levelno <= logging.DEBUG:
            yield record
            return
        key = record.name, record.levelno, repr(record.msg), repr(record.args)
        seen = self._seen.setdefault(key, _Seen(record, now, times=0))
        seen.times += 1
        if seen.times <= FREE:
            yield record

    def _close(self, key: Key, now: float) -> Iterator[logging.LogRecord]:
        seen = self._seen.pop(key)
        if seen.times > FREE:
            yield _counted(seen, f"{seen.times - FREE} times more within {now - seen.at:.0f} s")


def _counted(seen: _Seen, how_often: str) -> logging.LogRecord:
    """A line like the first one, with a count before its words and without its traceback."""
    old = seen.first
    # An event of structlog is a dict until it is written.
    words = old.msg if isinstance(old.msg, dict) else {"event": old.getMessage()}
    made = logging.makeLogRecord({**old.__dict__, "args": None, "exc_info": None, "exc_text": None})
    made.created = time.time()
    text = f"{how_often}: {words.get('event', '')}"
    made.msg = {**words, "event": text, "exc_info": None} if isinstance(old.msg, dict) else text
    return made


__all__ = ["FREE", "KINDS", "WINDOW_S", "Repeats"]
