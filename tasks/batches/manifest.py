"""Reads manifests: lists of sources as CSV with a header, or as JSON lines.

Each entry has `source`, a path (relative to the manifest's folder) or an address. It may also have `id` and options of
the job. The options are fields of `tasks.job_spec.JobSpec`. They are given either in one column or key for each, or
together as a JSON object in `options`. Empty cells are ignored.

    source,id,language,formats
    monday/call.wav,call-1,yue,json srt
    s3://bucket/calls/2.flac,,en,

An `id` becomes the job's id, regardless of the content of the source: two submissions with the same id are one job.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tasks.batches.unique_ids import UniqueIds
from tasks.job_spec import JobSpec, checked_key, problems
from worker.errors import BadJob
from worker.storage.address import Address, is_url, show

ENDINGS: Final = (".csv", ".jsonl", ".ndjson")
MAX_ENTRIES: Final = 1_000_000
_MAX_PROBLEMS: Final = 5
_OPTIONS: Final = frozenset(JobSpec.model_fields) - {"source", "batch", "out_dir"}


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One entry of a manifest. If `source` is a path, it is absolute. `options` are validated fields of JobSpec."""

    source: Address
    id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def is_manifest(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Return the entries of the manifest in order. Raises BadJob with the invalid lines and the reason for each."""
    return list(read_entries(path))


def read_entries(path: Path) -> Iterator[ManifestEntry]:
    """Yield the entries of the manifest in order, one at a time in memory. Raises BadJob after the last entry, with the
    invalid lines and the reason for each, so the caller must read all entries before it uses one."""
    wrong = _Problems()
    ids, count = UniqueIds(), 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in _csv(file) if path.suffix.lower() == ".csv" else _json_lines(file):
                try:
                    entry = _entry(_object(row) if isinstance(row, str) else row, path.parent)
                except BadJob as exc:
                    wrong.add(f"line {line}: {exc}")
                    continue
                if entry.id is not None and (first := ids.first_line(entry.id, line)) != line:
                    wrong.add(f"line {line}: line {first} has the same id {entry.id}")
                count += 1
                if count > MAX_ENTRIES:
                    wrong.add(f"more than {MAX_ENTRIES} entries; split the manifest")
                    break
                yield entry
    except UnicodeDecodeError:
        raise BadJob(f"{path}: is not UTF-8 text; a manifest is CSV or JSON lines in UTF-8") from None
    except (OSError, csv.Error) as exc:
        raise BadJob(f"{path}: cannot be read: {exc}") from None
    except BadJob as exc:
        wrong.add(str(exc))
    if wrong.count:
        raise BadJob(f"{path}: {wrong}")
    if not count:
        raise BadJob(f"{path}: has no entries")


class _Problems:
    """The first problems of a manifest, and the number of all."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, problem: str) -> None:
        self.count += 1
        if self.count <= _MAX_PROBLEMS:
            self._first.append(problem)

    def __str__(self) -> str:
        more = self.count - len(self._first)
        return "; ".join(self._first) + (f"; and {more} more" if more else "")


def _csv(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    head = next(lines, "")
    # The separator is the one of these characters that is most frequent in the header.
    separator = max(",;\t", key=head.count)
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=separator), [])]
    if "source" not in names:
        raise BadJob(f"line 1: must name the columns, including `source`; it has {', '.join(names) or 'no columns'}")
    rows = csv.reader(lines, delimiter=separator)
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(names):
            yield rows.line_num + 1, {"source": cells[0], "more cells than columns": cells[len(names)]}
            continue
        row: dict[str, Any] = {n: cell.strip() for n, cell in zip(names, cells, strict=False) if cell.strip()}
        yield rows.line_num + 1, row


def _json_lines(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, line


def _object(text: str, what: str = "") -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as exc:
        raise BadJob(f"{what}is not JSON: {exc.msg} at column {exc.colno}") from None
    except (ValueError, RecursionError) as exc:
        raise BadJob(f"{what}is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise BadJob(f"{what}must be a JSON object, such as {{...}}")
    return {name: one for name, one in value.items() if one is not None}


def _entry(row: dict[str, Any], folder: Path) -> ManifestEntry:
    source, key = row.pop("source", None), row.pop("id", None)
    together = row.pop("options", None)
    if isinstance(together, str):
        together = _object(together, "options: ")
    if together is not None:
        if not isinstance(together, dict):
            raise BadJob("options: must be a JSON object, such as {...}")
        row = {**row, **together}
    if not isinstance(source, str):
        raise BadJob("has no source")
    unknown = sorted(set(row) - _OPTIONS)
    if unknown:
        raise BadJob(f"{', '.join(unknown)}: no such option; known options: {', '.join(sorted(_OPTIONS))}")
    if isinstance(row.get("formats"), str):
        row["formats"] = tuple(row["formats"].replace(",", " ").replace(";", " ").split())
    place = source if is_url(source) else str((folder / source).absolute())
    # JobSpec rejects channel names if channels are not separate. The command may request separate channels for all
    # sources, so the names are validated as if it did.
    rest = {"channels": "split"} if "channel_names" in row and "channels" not in row else {}
    try:
        spec = JobSpec(source=place, **row, **rest)
    except ValidationError as exc:
        raise BadJob(f"{show(source)}: {problems(exc)}") from None
    return ManifestEntry(spec.source, None if key is None else checked_key(str(key), "id"), row)
