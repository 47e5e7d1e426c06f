"""Groups the files of a run for hashing. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tasks.cli.run.file_states import File
from tasks.job_spec import JobSpec

READ_AHEAD: Final = 64
"""Maximum number of files that are already hashed while their jobs are not yet queued."""
GROUP_BYTES: Final = 16 << 20
"""Files that are hashed in one step have at most about this size together."""


def small_groups(pairs: Iterable[tuple[File, JobSpec | None]]) -> Iterator[list[tuple[File, JobSpec]]]:
    """Group small files, because the change to another thread takes as long as hashing 200 KB."""
    group: list[tuple[File, JobSpec]] = []
    for file, spec in pairs:
        if spec is None:
            continue
        group.append((file, spec))
        if len(group) == READ_AHEAD or sum(one.size_bytes for one, _ in group) > GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group
