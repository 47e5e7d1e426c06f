"""A temporary SQLite database for lists that are too long for the memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from worker.errors import WorkerShortage

_NO_SPACE: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class TemporaryDatabase(sqlite3.Connection):
    """A database in an unnamed temporary file, which is deleted with this object. Half a megabyte of it is in memory.

    Commands raise WorkerShortage if the file cannot be written."""

    def __init__(self) -> None:
        # Another thread may run the garbage collection that closes the database.
        super().__init__("", isolation_level=None, check_same_thread=False)
        self.executescript("PRAGMA journal_mode = OFF; PRAGMA cache_size = -500")

    def __del__(self) -> None:
        self.close()

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        with _no_space_as_shortage():
            return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        with _no_space_as_shortage():
            return super().executemany(sql, parameters)


@contextmanager
def _no_space_as_shortage() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF not in _NO_SPACE:  # the low byte is the kind of the error
            raise
        raise WorkerShortage(
            f"the temporary database cannot be written: {exc}; free some space, or set TMPDIR to a folder on another "
            "disk"
        ) from exc


__all__ = ["TemporaryDatabase"]
