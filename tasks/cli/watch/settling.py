"""Decides which files of a watched folder are complete, from the times at which they were seen (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from worker.audio.opened_file import FileStamp


@dataclass(slots=True)
class SettlingFiles:
    """Files that have come or changed, until they have been the same for `settle_s` seconds."""

    settle_s: float
    _waiting: dict[Path, tuple[FileStamp, float]] = field(default_factory=dict)
    """With the time since when it is the same, on the caller's clock."""
    _taken: dict[Path, FileStamp] = field(default_factory=dict)

    def seen(self, path: Path, stamp: FileStamp, now: float) -> None:
        """The file exists with this stamp. A file that was taken with the same stamp is ignored."""
        if self._taken.get(path) == stamp:
            self._waiting.pop(path, None)
            return
        waiting = self._waiting.get(path)
        if waiting is None or waiting[0] != stamp:
            self._waiting[path] = (stamp, now)

    def gone(self, path: Path) -> None:
        """The file is not there any more; one of that name is a new one."""
        self._waiting.pop(path, None)
        self._taken.pop(path, None)

    @property
    def waiting(self) -> tuple[Path, ...]:
        return tuple(self._waiting)

    @property
    def known(self) -> tuple[Path, ...]:
        """All files, waiting or taken."""
        return (*self._waiting, *(path for path in self._taken if path not in self._waiting))

    def settled(self, now: float) -> dict[Path, FileStamp]:
        """The files that are ready, in the order they came; `take` each of them that is dealt with."""
        return {path: stamp for path, (stamp, since) in self._waiting.items() if now - since >= self.settle_s}

    def take(self, path: Path) -> None:
        """It is dealt with, until it changes."""
        waiting = self._waiting.pop(path, None)
        if waiting is not None:
            self._taken[path] = waiting[0]
