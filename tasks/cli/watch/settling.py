"""Decides which files of a watched folder are complete, because they have not changed for some time. No I/O.

The stamp of a file (`worker.audio.opened_file.FileStamp`) changes when the file is written or replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from worker.audio.opened_file import FileStamp


@dataclass(slots=True)
class SettlingFiles:
    """Tracks new and changed files until they have been unchanged for `settle_s` seconds."""

    settle_s: float
    _waiting: dict[Path, tuple[FileStamp, float]] = field(default_factory=dict)
    """Stamp of each file that is not handled yet, and the time, on the caller's clock, since which it has not
    changed."""
    _taken: dict[Path, FileStamp] = field(default_factory=dict)

    def seen(self, path: Path, stamp: FileStamp, now: float) -> None:
        """Record that the file exists with this stamp at the time `now`. Ignore a file that was handled with this
        stamp."""
        if self._taken.get(path) == stamp:
            self._waiting.pop(path, None)
            return
        waiting = self._waiting.get(path)
        if waiting is None or waiting[0] != stamp:
            self._waiting[path] = (stamp, now)

    def gone(self, path: Path) -> None:
        """Record that the file no longer exists. A later file of the same name is a new file."""
        self._waiting.pop(path, None)
        self._taken.pop(path, None)

    @property
    def waiting(self) -> tuple[Path, ...]:
        return tuple(self._waiting)

    @property
    def known(self) -> tuple[Path, ...]:
        """All files, waiting or handled."""
        return (*self._waiting, *(path for path in self._taken if path not in self._waiting))

    def settled(self, now: float) -> dict[Path, FileStamp]:
        """Return the files that have not changed for `settle_s` seconds, in order of arrival. The caller calls `take`
        for each file that it has handled."""
        return {path: stamp for path, (stamp, since) in self._waiting.items() if now - since >= self.settle_s}

    def take(self, path: Path) -> None:
        """Mark a file as handled until it changes."""
        waiting = self._waiting.pop(path, None)
        if waiting is not None:
            self._taken[path] = waiting[0]
