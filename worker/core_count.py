"""The number of processor cores that this process may use: by its affinity, and by the limit of its container."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Return the number of cores, at least 1. `cgroup`: the folder of the kernel's control groups; without it, there is
    no limit of a container."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, round(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return the limit of processor time in cores, or None without a limit. `docker run --cpus 2` and Kubernetes set
    it. Version 2 of the control groups has it in one file, version 1 in two."""
    version_1 = [word for name in ("quota", "period") for word in _words(cgroup / f"cpu/cpu.cfs_{name}_us")]
    for words in (_words(cgroup / "cpu.max"), version_1):
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]) > 0:
            return int(words[0]) / int(words[1])
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError):  # no control groups, or no limit in this group
        return []


__all__ = ["available_cores"]
