"""Transcript files in a folder: each appears whole or not at all, and writing again gives the same files."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from worker.errors import OutputError, OutputUnavailable
from worker.transcript.formats import pieces
from worker.transcript.model import Transcript
from worker.transcript.style import PLAIN, Style


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the files of one transcript go: `folder/name.format` for each of the formats.

    `name` may hold folders (`calls/monday`) and dots (`call.wav`); it never leaves `folder`.
    """

    folder: Path
    name: str
    formats: tuple[str, ...]
    style: Style = PLAIN


_MAY_PASS: Final = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
)
"""A disk that is full is freed, a network disk comes back: worth another attempt."""
_REASONS: Final[dict[int, str]] = {
    errno.ENOSPC: "the disk is full; free some space, or choose another output folder",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another output folder",
    errno.EACCES: "no permission to write there; choose another output folder, or change its permissions",
    errno.EPERM: "no permission to write there; choose another output folder, or change its permissions",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.ENAMETOOLONG: "the name is too long for the file system; give the audio file a shorter name",
    errno.ENOTDIR: "a part of the path is a file, not a folder; move that file away, or choose another output folder",
    errno.EEXIST: "a part of the path is a file, not a folder; move that file away, or choose another output folder",
    errno.EISDIR: "a folder has this name; move it away, or choose another output folder",
}


def write(transcript: Transcript, out: Outputs) -> tuple[Path, ...]:
    """Write one file per format and return their paths, in the order of `out.formats`.

    A file is written under a temporary name in its own folder, synced, and renamed; JSON comes last, so where it stands
    the others stand too. Existing files are replaced. Raises OutputError, or OutputUnavailable for what may pass, and
    leaves no temporary file behind.
    """
    targets = {fmt: _target(out, fmt) for fmt in out.formats}
    # An unknown format is refused before anything is written.
    texts = {fmt: pieces(transcript, fmt, out.style, place=str(target.absolute())) for fmt, target in targets.items()}
    for fmt in sorted(texts, key=lambda name: name == "json"):
        _replace(targets[fmt], texts[fmt])
    return tuple(targets.values())


def check_name(name: str, folder: str) -> PurePosixPath:
    """The name of a transcript as a path inside the output folder. Raises OutputError for any other one."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise OutputError(f"{name!r} cannot name a transcript: it must be a path inside the output folder {folder}")
    return path


def _target(out: Outputs, fmt: str) -> Path:
    name = check_name(out.name, str(out.folder))
    return out.folder / name.parent / f"{name.name}.{fmt}"


def _replace(target: Path, content: Iterable[str]) -> None:
    temporary = target.with_name(f".stt-{secrets.token_hex(8)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                for piece in content:
                    file.write(piece.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink()
            raise
        _sync_folder(target.parent)
    except OSError as exc:
        reason = _REASONS.get(exc.errno or 0, exc.strerror or str(exc))
        kind = OutputUnavailable if exc.errno in _MAY_PASS else OutputError
        raise kind(f"cannot write {target}: {reason}") from exc


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Some network file systems refuse it; the file is there all the same."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
