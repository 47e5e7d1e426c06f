"""Replaces files atomically: a reader sees either the old or the new content, and a crash leaves one of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def replace_file(path: Path, content: Iterable[bytes], *, folder: int | None = None, durable: bool = True) -> None:
    """Write `content` to a temporary file in the folder of `path` and rename it to `path`. Raises OSError.

    `folder`: an open descriptor of the folder of `path`; symbolic links in the path are then not resolved again.
    `durable`: wait until the content is on disk; use False only for files that are useless after the process has ended.
    """
    target = str(path) if folder is None else path.name
    # os.urandom instead of `secrets`, whose import takes longer than a whole health check.
    temporary = os.path.join(os.path.dirname(target), f".stt-{os.urandom(8).hex()}.tmp")  # noqa: PTH118, PTH120
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
        with open(file, "wb") as stream:  # noqa: PTH123
            for piece in content:
                stream.write(piece)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.rename(temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):  # an error of the cleanup must not hide the first error
            os.unlink(temporary, dir_fd=folder)
        raise
    if durable:
        _sync_folder(os.path.dirname(target) or ".", folder)  # noqa: PTH120


def _sync_folder(path: str, folder: int | None) -> None:
    """Make the rename in the folder `path` durable. Some network file systems refuse this operation; then the renamed
    file may be lost in a crash of the machine."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
