"""Reads a glossary file: heard and wanted terms in two columns, as CSV or TSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from worker.errors import BadJob
from worker.transcript.glossary import Term, checked_terms

_MAX_BYTES: Final = 1 << 20
_HEADERS: Final = (("heard", "wanted"), ("from", "to"))


def read_glossary(path: Path) -> tuple[Term, ...]:
    """Return the terms of a glossary file in UTF-8. Empty lines, lines that begin with # and the header `heard,wanted`
    are ignored. Raises BadJob with the line and the reason."""
    try:
        with path.expanduser().open(encoding="utf-8-sig", newline="") as file:
            text = file.read(_MAX_BYTES + 1)
    except UnicodeDecodeError:
        raise BadJob(f"glossary {path}: is not UTF-8 text") from None
    except (OSError, RuntimeError) as exc:  # RuntimeError: a home folder that does not exist
        raise BadJob(f"glossary {path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
    if len(text) > _MAX_BYTES:
        raise BadJob(f"glossary {path}: is larger than {_MAX_BYTES} characters")
    try:
        terms = checked_terms(_rows(text, path))
    except csv.Error as exc:
        raise BadJob(f"glossary {path}: is not CSV or TSV: {exc}") from None
    except ValueError as exc:
        raise BadJob(f"glossary {path}: {exc}") from None
    if not terms:
        raise BadJob(f"glossary {path}: has no terms; a line is `heard,wanted`")
    return terms


def _rows(text: str, path: Path) -> list[tuple[str, str]]:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    separator = "\t" if "\t" in first else ","
    rows: list[tuple[str, str]] = []
    reader = csv.reader(lines, delimiter=separator)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        while len(cells) > 2 and not cells[-1]:
            cells.pop()
        if len(cells) != 2 or not all(cells):
            raise BadJob(
                f"glossary {path}: line {reader.line_num}: must have two columns, the heard and the wanted term"
            )
        if rows or tuple(cell.lower() for cell in cells) not in _HEADERS:
            rows.append((cells[0], cells[1]))
    return rows
