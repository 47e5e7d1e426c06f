"""Decides what follows the end of a worker process. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from worker.backoff import exponential_s

STABLE_S: Final = 30.0
"""Seconds after its start from which a process counts as working. If it ends then, it is replaced at once."""
PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0
MAX_FAILED_STARTS: Final = 5
"""Number of starts in a row that may fail while no other process runs. Then the worker ends."""


@dataclass(slots=True)
class RestartPolicy:
    """The failed starts of each process, by its number."""

    was_complete: bool = False
    """Whether all processes have been ready at the same time."""
    failed_starts: dict[int, int] = field(default_factory=dict)

    def pause_s(self, process: int, *, was_ready: bool, ran_s: float) -> float:
        """Record the end of a process. Returns the seconds until its replacement starts.

        `was_ready`: whether it had accepted jobs."""
        if was_ready and ran_s >= STABLE_S:
            self.failed_starts.pop(process, None)
            return 0.0
        failed = self.failed_starts[process] = self.failed_starts.get(process, 0) + 1
        # The first replacement of a process that worked follows at once: one kill should not cost a second.
        return 0.0 if was_ready and failed == 1 else exponential_s(failed - 1, PAUSE_S, MAX_PAUSE_S)

    def gives_up(self, process: int, *, was_ready: bool, others_run: bool) -> bool:
        """Whether the worker ends after the end of a process, instead of replacing it.

        Before all processes have been ready, a process that cannot start has wrong settings, which a new start does not
        mend."""
        if was_ready:
            return False
        if not self.was_complete:
            return True
        return not others_run and self.failed_starts.get(process, 0) >= MAX_FAILED_STARTS


__all__ = ["MAX_FAILED_STARTS", "MAX_PAUSE_S", "PAUSE_S", "STABLE_S", "RestartPolicy"]
