"""Finds repeated ids without all of them in memory."""

from __future__ import annotations

from tasks.batches.temporary_database import TemporaryDatabase


class UniqueIds:
    """The ids of a manifest with the line of each, in a temporary database."""

    def __init__(self) -> None:
        self._database = TemporaryDatabase()
        self._database.execute("CREATE TABLE id(id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def first_line(self, one: str, line: int) -> int:
        """Return the first line that had this id: `line`, unless the id was given before."""
        if self._database.execute("INSERT OR IGNORE INTO id VALUES(?, ?)", (one, line)).rowcount:
            return line
        (first,) = self._database.execute("SELECT line FROM id WHERE id = ?", (one,)).fetchone()
        return int(first)
