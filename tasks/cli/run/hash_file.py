"""Stores the sha256 of a run's files in its output folder, so that the next run does not read unchanged files again."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Final

from worker.atomic_file import replace_file
from worker.audio.opened_file import SourceFile
from worker.audio.source import sha256_of
from worker.errors import OutputError

MAX_FILES: Final = 100_000
"""Maximum number of files whose sha256 is stored. The files that were hashed last are stored."""
_UNSETTLED_NS: Final = 2_000_000_000
"""Resolution of the coarsest time stamps that file systems in use have (FAT), in nanoseconds."""
_LINE: Final = re.compile(r"^([0-9a-f]{32}) ((?:-?\d+ ){5}[0-9a-f]{64})$", re.MULTILINE)


class HashFile:
    """A file that maps a path to the stamp (`worker.audio.opened_file.FileStamp`) and the sha256 of its content.

    The content decides whether a file was transcribed, so a stored sha256 is used only if every attribute in the stamp
    is unchanged. The stamp contains the change time, which programs cannot set. A file that was changed shortly before
    it was hashed may change once more without a new stamp, because time stamps are coarse. Such a file is not stored
    (`racy git` has the same rule: https://git-scm.com/docs/racy-git). The rule compares the clock of this machine
    with time stamps. On a network file system whose clock is seconds behind, it does not recognise such a file.

    Measured with 1,000 finished files of 320 KB: a run takes 0.4 s less. For use in one thread at a time."""

    def __init__(self, path: Path) -> None:
        """`path`: where the file is or will be stored."""
        self._path = path
        self._lines: dict[str, str] | None = None
        self._changed = False

    def sha256_of(self, source: SourceFile) -> str:
        """Return the sha256 of the content of `source`, in hexadecimal. Raises the errors of
        `worker.audio.source.sha256_of`."""
        lines, key = self._loaded(), _key(str(source))
        # The clock is read first, and the stamp before the content: later changes give the file another stamp.
        now_ns, stamp = time.time_ns(), source.stamp()
        before, _, content = lines.get(key, "").rpartition(" ")
        if before == str(stamp):
            return content
        content = sha256_of(source)
        if max(stamp.mtime_ns, stamp.ctime_ns) + _UNSETTLED_NS <= now_ns:
            lines.pop(key, None)
            lines[key] = f"{stamp} {content}"
            self._changed = True
        return content

    def save(self) -> None:
        """Write the file if an entry changed and the folder exists. A run that starts nothing must not create the
        folder. Raises OutputError."""
        if not self._changed or not self._path.parent.is_dir():
            return
        newest = list(self._loaded().items())[-MAX_FILES:]
        try:
            replace_file(self._path, (f"{key} {line}\n".encode() for key, line in newest), durable=False)
        except OSError as exc:
            raise OutputError(
                f"cannot write {self._path} ({exc.strerror}): the next run reads all files again; check its disk"
            ) from exc
        self._changed = False

    def _loaded(self) -> dict[str, str]:
        if self._lines is None:
            try:
                text = self._path.read_text("ascii", "replace")
            except OSError:  # without the file, and without damaged lines, the run only hashes more files
                text = ""
            self._lines = dict(_LINE.findall(text))
        return self._lines


def _key(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]


__all__ = ["HashFile"]
