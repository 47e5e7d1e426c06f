"""Chooses the names of transcript files, so that no two sources write to the same file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from tasks.cli.sources.source_table import FoundSource, NamedSource, SourceTable, decoded, encoded, folded
from worker.errors import BadJob

_FULL_NAME: Final = 1
_TABLES: Final = (
    # `given`: whether the name is from a manifest. `level`: see `_name`.
    "CREATE TABLE output(number INTEGER PRIMARY KEY, given INTEGER, level INTEGER, name BLOB, folded BLOB)",
    "CREATE INDEX output_folded ON output(folded)",
    "CREATE INDEX source_path ON source(folded_path)",
    "CREATE TABLE suffix(text TEXT)",
)
_SAME_NAME: Final = """
SELECT count(*), min(number), name FROM output WHERE given >= ? GROUP BY {column} HAVING count(*) > 1
ORDER BY min(number) LIMIT 1
"""
# The names of a group are equal except for the case of letters. They may stay if the sources also differ only in case.
# The second condition is true if an output file would replace a source.
_CLASHES: Final = """
SELECT number, level, name FROM output WHERE NOT given AND (
  folded IN (
    SELECT folded FROM output JOIN source USING(number) GROUP BY folded
    HAVING count(*) > 1 AND (count(DISTINCT name) < count(*) OR count(DISTINCT folded_text) > 1)
  )
  OR EXISTS (SELECT 1 FROM suffix, source WHERE folded_path = CAST(? || folded || suffix.text AS BLOB))
) ORDER BY number
"""


def name_outputs(found: SourceTable, out: Path, formats: Sequence[str]) -> None:
    """Give each source a unique name below `out`. The name is the source's folder and its file name without the ending.
    If two sources would get the same name, the ending is added; if the names are still equal, more of the folders above
    the source are added. A name is also not used if an output file would replace a source. Names from a manifest do not
    change. Raises BadJob if two names from manifests are equal.

    Names that differ only in the case of letters are treated as equal, because the disks of macOS and Windows ignore
    case. There is one exception: if the paths of the sources also differ only in case, their disk distinguishes case,
    and the names may differ only in case.
    """
    sql = found.database
    for table in _TABLES:
        sql.execute(table)
    sql.executemany("INSERT INTO suffix VALUES(?)", [(f".{folded(fmt)}",) for fmt in formats])
    sql.executemany("INSERT INTO output VALUES(?, ?, 0, ?, ?)", _first_names(found))
    if same := sql.execute(_SAME_NAME.format(column="folded"), (1,)).fetchone():
        name = folded(decoded(same[2]))
        raise BadJob(f"{same[0]} sources have the same out_name, {name}: give each source another out_name")
    root = encoded(folded(os.path.join(os.path.realpath(out), "")))  # noqa: PTH118  with a slash at its end
    sql.execute("CREATE TABLE moved AS SELECT number, level, name, folded FROM output LIMIT 0")
    while sql.executemany("INSERT INTO moved VALUES(?, ?, ?, ?)", _longer_names(found, root)).rowcount > 0:
        sql.execute("REPLACE INTO output SELECT number, 0, level, name, folded FROM moved")
        sql.execute("DELETE FROM moved")
    if same := sql.execute(_SAME_NAME.format(column="name"), (0,)).fetchone():
        raise BadJob(
            f"{found[same[1]].source}: is listed {same[0]} times with different options; give each entry an out_name"
        )


def named(found: SourceTable) -> Iterator[NamedSource]:
    """Yield the sources in order with the names that `name_outputs` chose."""
    names = found.database.execute("SELECT name FROM output ORDER BY number")
    for item, (name,) in zip(found, names, strict=True):
        yield NamedSource(item, decoded(name))


def _first_names(found: SourceTable) -> Iterator[tuple[int, bool, bytes, bytes]]:
    for number, item in found.numbered():
        given = item.options.get("out_name")
        name = given or _name(item, 0)
        yield number, given is not None, encoded(name), encoded(folded(name))


def _longer_names(found: SourceTable, root: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yield longer names for the sources whose names clash.

    Names that do not change with one more folder are left out: they are whole paths already, which are unique."""
    for number, level, name in found.database.execute(_CLASHES, (root,)):
        longer = _name(found[number], level + 1)
        if longer != decoded(name):
            yield number, level + 1, encoded(longer), encoded(folded(longer))


def _name(item: FoundSource, level: int) -> str:
    if level == 0:
        return str(item.place.with_name(item.place.stem))
    if level == _FULL_NAME:
        return str(item.place)
    # Each further level adds one more of the folders above `item.place` to the name.
    source = item.source
    parts = source.path.parts[1:] if source.is_file else PurePosixPath(source.bucket, source.key).parts
    count = min(len(item.place.parts) + level - _FULL_NAME, len(parts))
    return "/".join(parts[-count:])
