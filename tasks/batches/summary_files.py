"""Writes a batch's summary next to the transcripts, as `summary.json` and as a library, `summary.html`.

A summary never overwrites a transcript: if one is called `summary`, the summary gets another name.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from tasks.batches.path_privacy import with_short_paths
from tasks.batches.summary import BatchSummary
from tasks.batches.summary_page import page
from tasks.batches.transcript_files import is_summary
from tasks.batches.transcript_texts import read_texts
from worker.atomic_file import replace_file
from worker.errors import OutputError


def write_summary(
    summary: BatchSummary, folder: Path, taken: Collection[str] = (), *, absolute_paths: bool = False
) -> tuple[Path, Path]:
    """Write both files atomically, replacing the summary of an earlier run. Returns their paths. Raises OutputError.

    `taken`: names of transcripts, without their endings, which the summary must not use. `absolute_paths`: the setting
    STT_ABSOLUTE_PATHS.
    """
    texts = read_texts(summary, folder)
    summary = summary if absolute_paths else with_short_paths(summary, folder)
    names = {name.casefold() for name in taken}
    name = next(name for name in _names() if name not in names and _is_free(folder, name))
    paths = folder / f"{name}.json", folder / f"{name}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(
            paths, (summary.model_dump_json(indent=2) + "\n", page(summary, folder, texts)), strict=True
        ):
            replace_file(path, (text.encode("utf-8", "backslashreplace"),))
    except OSError as exc:
        raise OutputError(f"cannot write the summary {paths[0]}: {exc.strerror}") from exc
    return paths


def _names() -> Iterator[str]:
    yield "summary"
    yield "batch-summary"
    number = 2
    while True:
        yield f"batch-summary-{number}"
        number += 1


def _is_free(folder: Path, name: str) -> bool:
    paths = (folder / f"{name}.json", folder / f"{name}.html")
    return all(not os.path.lexists(path) or is_summary(path) for path in paths)
