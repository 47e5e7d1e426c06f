"""Finds repeated ids without all of them in memory."""

from __future__ import annotations

import sqlite3


class UniqueIds:
    """The ids of a manifest with the line of each, in a temporary SQLite database."""

    def __init__(self) -> None:
        # SQLite writes a database without a name to an unnamed file, of which half a megabyte is in memory.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA cache_size = -500")
        self._database.execute("CREATE TABLE id(id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def __del__(self) -> None:
        self._database.close()

    def first_line(self, one: str, line: int) -> int:
        """Return the first line that had this id: `line`, unless the id was given before."""
        if self._database.execute("INSERT OR IGNORE INTO id VALUES(?, ?)", (one, line)).rowcount:
            return line
        (first,) = self._database.execute("SELECT line FROM id WHERE id = ?", (one,)).fetchone()
        return int(first)
