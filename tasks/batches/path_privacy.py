"""Removes absolute local paths from summaries, because summaries may be mailed or published. No I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from tasks.batches.summary import BatchSummary, FailureGroup, JobLine
from worker.storage.address import is_url

_ABSOLUTE: Final = re.compile(r"(?<![\w:/.~…-])/(?:[^\s/:;,'\"]+/)+([^\s/:;,'\"]*)")
"""Matches an absolute path of two or more parts inside a text. The group is the file name."""


def with_short_paths(summary: BatchSummary, folder: Path) -> BatchSummary:
    """Return `summary` with shortened paths. Sources become relative to their common folder, and outputs relative to
    `folder`, where the summary is written. Other paths in texts are replaced by file names. Addresses do not change."""
    names = short_names(job.source for job in summary.jobs)
    root = str(folder.absolute())

    def job_line(job: JobLine) -> JobLine:
        source = names.get(job.source, job.source)
        return job.model_copy(
            update={
                "source": source,
                "outputs": tuple(_output(output, root) for output in job.outputs),
                "warnings": tuple(_text(text, job.source, source) for text in job.warnings),
                "error": job.error and _text(job.error, job.source, source),
            }
        )

    def group(one: FailureGroup) -> FailureGroup:
        # Ids in `jobs` do not change, because `names` has only absolute paths.
        short = {field: tuple(names.get(name, name) for name in getattr(one, field)) for field in ("jobs", "sources")}
        return one.model_copy(update={"reason": _text(one.reason, "", ""), **short})

    return summary.model_copy(
        update={
            "jobs": tuple(map(job_line, summary.jobs)),
            "slowest": tuple(map(job_line, summary.slowest)),
            "failures": tuple(map(group, summary.failures)),
        }
    )


def short_names(sources: Iterable[str]) -> dict[str, str]:
    """Map each source that is an absolute path to its path below the common folder of all of them."""
    paths = {source for source in sources if source.startswith("/")}
    if not paths:
        return {}
    common = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    if common == "/":  # relative to the root, the names would still be full paths
        return {path: PurePosixPath(path).name for path in paths}
    return {path: _below(path, common) for path in paths}


def _output(output: str, root: str) -> str:
    if is_url(output) or not output.startswith("/"):
        return output
    if not output.startswith(f"{root}/") and os.path.commonpath([output, root]) == "/":
        return PurePosixPath(output).name
    return _below(output, root)


def _below(path: str, folder: str) -> str:
    """Return `path` relative to `folder`; both are absolute."""
    if path.startswith(f"{folder}/") and "/." not in path and "//" not in path:
        return path[len(folder) + 1 :]  # the usual case; relpath takes twenty times as long
    return os.path.relpath(path, folder)


def _text(text: str, source: str, name: str) -> str:
    text = text.replace(source, name) if source else text
    return _ABSOLUTE.sub(lambda match: f"…/{match[1]}", text)


__all__ = ["short_names", "with_short_paths"]
