"""A table of sources in a temporary database, so that memory does not grow with their number."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from tasks.batches.temporary_database import TemporaryDatabase
from worker.storage.address import Address, parse

_TABLE: Final = """
CREATE TABLE source(
  number INTEGER PRIMARY KEY, key BLOB UNIQUE, text BLOB, place BLOB, size INTEGER, id TEXT, options TEXT,
  folded_text BLOB, folded_path BLOB
)
"""
_ALL: Final = "SELECT number, text, place, size, id, options FROM source ORDER BY number"
_ONE: Final = "SELECT text, place, size, id, options FROM source WHERE number = ?"


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source. `place`: its path relative to the argument of the command that contains the source."""

    source: Address
    """If this is a path, it is absolute."""
    place: PurePosixPath
    size_bytes: int | None = None
    """None if the size is not known without opening the source."""
    id: str | None = None
    """The job's id from a manifest."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of JobSpec from a manifest."""


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source and the name of its transcript files below the output folder, without the ending."""

    found: FoundSource
    out_name: str

    @property
    def source(self) -> Address:
        return self.found.source


class SourceTable:
    """Sources in the order in which they were added, without repetitions."""

    def __init__(self) -> None:
        self.database = TemporaryDatabase()
        """Other modules may add tables of their own, with the number of the source as their key."""
        self.database.execute(_TABLE)
        self._count = 0
        self._folder = ("", "")
        """The folder of the last source, and its path without symbolic links."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[FoundSource]:
        for _, found in self.numbered():
            yield found

    def add(self, item: FoundSource) -> None:
        """Add a source, unless a source with an equal key was added before."""
        path = self._real_path(item.source.text) if item.source.is_file else item.source.text
        # Two arguments that contain the same source with the same options give equal keys.
        key = path, item.id, repr(sorted(item.options.items()))
        digest = hashlib.sha256(encoded(repr(key))).digest()
        text = encoded(item.source.text)
        place, options = encoded(str(item.place)), json.dumps(dict(item.options))
        row = (
            digest,
            text,
            place,
            item.size_bytes,
            item.id,
            options,
            encoded(folded(item.source.text)),
            encoded(folded(path)),
        )
        done = self.database.execute("INSERT OR IGNORE INTO source VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._count += done.rowcount

    def _real_path(self, text: str) -> str:
        """Return a path without symbolic links. `os.path.realpath` examines each folder above the file: 40 us for a
        file, and most files are in the same folder as the one before."""
        folder, name = os.path.split(text)
        if name in ("", ".", "..") or os.path.islink(text):  # noqa: PTH114  a Path takes longer
            return os.path.realpath(text)
        if self._folder[0] != folder:
            self._folder = folder, os.path.realpath(folder)
        return os.path.join(self._folder[1], name)  # noqa: PTH118

    def numbered(self) -> Iterator[tuple[int, FoundSource]]:
        """Yield the sources with their numbers, in order."""
        for number, *columns in self.database.execute(_ALL):
            yield number, _source(columns)

    def __getitem__(self, number: int) -> FoundSource:
        return _source(self.database.execute(_ONE, (number,)).fetchone())


def folded(text: str) -> str:
    """Return a text by which names are compared, without the case of letters."""
    return text.casefold()


def encoded(text: str) -> bytes:
    """Return the bytes of a text for SQLite, which refuses texts with bytes that are not UTF-8, as in some paths."""
    return text.encode("utf-8", "surrogatepass")


def decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _source(columns: Any) -> FoundSource:
    text, place, size, identity, options = columns
    fields = {name: tuple(one) if isinstance(one, list) else one for name, one in json.loads(options).items()}
    return FoundSource(parse(decoded(text)), PurePosixPath(decoded(place)), size, identity, fields)


__all__ = ["FoundSource", "NamedSource", "SourceTable", "decoded", "encoded", "folded"]
