from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from tasks.batches.temporary_database import TemporaryDatabase
from worker.errors import WorkerShortage


def insert_one(database: TemporaryDatabase) -> None:
    database.execute("INSERT INTO one VALUES(randomblob(100000))")


def insert_many(database: TemporaryDatabase) -> None:
    database.executemany("INSERT INTO one VALUES(?)", ((f"{n:1000}",) for n in range(100)))


@pytest.mark.parametrize("insert", [insert_one, insert_many])
def test_a_full_disk_is_a_shortage_with_a_remedy(insert: Callable[[TemporaryDatabase], None]) -> None:
    database = TemporaryDatabase()
    database.execute("CREATE TABLE one(text TEXT)")
    database.execute("PRAGMA max_page_count = 2")
    with pytest.raises(WorkerShortage, match=r"cannot be written: .*full; free some space, or set TMPDIR"):
        insert(database)


def test_a_wrong_command_is_an_error_of_sqlite() -> None:
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        TemporaryDatabase().execute("NO COMMAND")
