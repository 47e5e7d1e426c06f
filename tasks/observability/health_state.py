"""The content of a health file (`tasks.observability.heartbeat`): reads it, and finds parts of the process that are
stuck."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple


class HealthState(NamedTuple):
    """Times are seconds of the monotonic clock."""

    pid: int
    written: float
    beats: dict[str, float]
    """Time of the last beat of each part of the process."""
    problem: str | None
    """Why the process is not ready, or None."""

    @classmethod
    def read(cls, path: str | Path) -> HealthState:
        """Read a health file. Raises OSError, or ValueError, KeyError or TypeError for another content."""
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        beats = {str(part): float(at) for part, at in dict(state["beats"]).items()}
        return cls(int(state["pid"]), float(state["written"]), beats, state["problem"])

    def encoded(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    def stuck(self, now: float, max_age_s: float) -> str | None:
        """Return which part has not beaten for more than `max_age_s` seconds, or None."""
        if now - self.written > max_age_s:
            return f"its event loop wrote nothing for {now - self.written:.0f} s"
        # Compare with the time of writing, not with `now`: beats after that time are not in the file.
        for part, at in self.beats.items():
            if self.written - at > max_age_s:
                return f"its {part} has not beaten for {now - at:.0f} s"
        return None


__all__ = ["HealthState"]
