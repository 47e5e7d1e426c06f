"""Merges the health of several worker processes into one health state. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.observability.health_state import HealthState
from tasks.observability.heartbeat import STARTING


def merged(pid: int, now: float, states: Mapping[int, HealthState | None], stopping: str | None) -> HealthState:
    """Return the state of the whole worker. `states`: by the number of the process, None for one that has not written a
    health file yet. `stopping`: why the whole worker is not ready, or None.

    Parts that are stuck are not passed on, because the supervisor replaces their process. The worker is ready if all
    its processes are.
    """
    problems = [
        f"process {number}: {STARTING if state is None else state.problem}"
        for number, state in sorted(states.items())
        if state is None or state.problem is not None
    ]
    return HealthState(pid, now, {"supervisor": now}, stopping or "; ".join(problems) or None)


__all__ = ["merged"]
