"""Writes the output files of a transcript to a local folder, each completely or not at all.

A repeated call writes the same files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from worker.atomic_file import replace_file
from worker.errors import OutputError, OutputUnavailable
from worker.storage.forbidden_characters import has_control_characters
from worker.storage.open_beneath import OutsideAllowedFolders, open_folder
from worker.transcript.formats import pieces
from worker.transcript.model import Transcript
from worker.transcript.subtitles.style import PLAIN, Style
from worker.transient_os_errors import TRANSIENT_WRITE_ERRORS


@dataclass(frozen=True, slots=True)
class LocalOutputs:
    """The output files of one transcript: `folder/name.format` for each format.

    `name` may contain folders (`calls/monday`) and dots (`call.wav`). `write` refuses names that lead out of `folder`.
    """

    folder: Path
    name: str
    formats: tuple[str, ...]
    style: Style = PLAIN
    roots: tuple[str, ...] = ()
    """The allowed folders, which no link in the path may leave; if empty, links may lead anywhere."""
    absolute_paths: bool = False
    """Whether an HTML page may contain the absolute path of the audio file."""


# Unlike the error texts of the operating system, these texts contain a remedy.
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


def write(transcript: Transcript, out: LocalOutputs) -> tuple[Path, ...]:
    """Write one file per format and return their paths, in the order of `out.formats`.

    Each file is written under a temporary name in its folder, synced to the disk, and renamed. All of these steps use
    one descriptor of the folder, so a link that changes meanwhile has no effect. The JSON file is written last. So if
    it exists, all other files exist. Existing files are replaced. Raises OutputError, or OutputUnavailable for
    temporary failures; no temporary file remains.
    """
    name = check_name(out.name, str(out.folder))
    targets = {fmt: out.folder / name.parent / f"{name.name}.{fmt}" for fmt in out.formats}
    # An unknown format is refused before anything is written.
    texts = {
        fmt: pieces(transcript, fmt, out.style, place=str(target.absolute()), absolute_paths=out.absolute_paths)
        for fmt, target in targets.items()
    }
    with _folder(out.folder / name.parent, out.roots) as folder:
        for fmt in sorted(texts, key=lambda name: name == "json"):
            _replace(folder, targets[fmt], texts[fmt])
    return tuple(targets.values())


def check_name(name: str, folder: str) -> PurePosixPath:
    """Return `name` as a path relative to the output folder. Raises OutputError if it is not a path inside the folder.

    `folder`: the output folder, for the error text."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or has_control_characters(name):
        raise OutputError(f"{name!r} cannot name a transcript: it must be a path inside the output folder {folder}")
    return path


@contextlib.contextmanager
def _folder(path: Path, roots: tuple[str, ...]) -> Iterator[int]:
    """Open a folder, which is created if missing, and yield its descriptor. Raises OutputError.

    `roots`: the allowed folders; if empty, links may lead anywhere."""
    try:
        folder = open_folder(str(path), roots)
    except OutsideAllowedFolders:
        where = "a place that is not within STT_ALLOWED_OUTPUTS of this worker"
        raise OutputError(f"cannot write to {path}: a link in the path leads to {where}") from None
    except OSError as exc:
        raise _error(path, exc) from exc
    try:
        yield folder
    finally:
        os.close(folder)


def _replace(folder: int, target: Path, content: Iterable[str]) -> None:
    try:
        replace_file(target, (piece.encode("utf-8", "backslashreplace") for piece in content), folder=folder)
    except OSError as exc:
        raise _error(target, exc) from exc


def _error(target: Path, exc: OSError) -> OutputError:
    reason = _REASONS.get(exc.errno or 0, exc.strerror or str(exc))
    kind = OutputUnavailable if exc.errno in TRANSIENT_WRITE_ERRORS else OutputError
    return kind(f"cannot write {target}: {reason}")
