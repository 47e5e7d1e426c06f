"""Metrics of several processes on one page: each process writes its values to mapped files, and one process sums them.

This is the multi-process mode of Prometheus's client library, with one difference: the files belong to the number of a
process and not to its id. So the replacement of a process continues its counters, and no files of dead processes
accumulate. `share` must run before `worker.metrics` is imported, because the library decides at that moment.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, PlatformCollector, ProcessCollector, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_CPU: Final = "process_cpu_seconds"
_LOWEST: Final = ("process_start_time_seconds", "process_max_fds")
"""Metrics of a process of which the lowest one describes all; the others are added."""


def share(process: int) -> None:
    """Write the metrics of this process to the files of number `process`, in the folder PROMETHEUS_MULTIPROC_DIR."""
    if "worker.metrics" in sys.modules:
        raise RuntimeError("metrics can only be shared before they are created")
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]


def merged_registry(folder: Path, pids: Callable[[], Iterable[int]]) -> CollectorRegistry:
    """Return a registry with the metrics of all processes that write to `folder`. `pids` returns the ids of the running
    ones, whose memory and processor time are added to those of this process."""
    registry = CollectorRegistry(auto_describe=False)
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    PlatformCollector(registry=registry)
    registry.register(_Processes(pids))
    return registry


class _Processes(Collector):
    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        found: dict[str, list[Metric]] = {}
        for pid in [os.getpid(), *self._pids()]:
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                found.setdefault(metric.name, []).append(metric)
        for name, metrics in found.items():
            numbers = [metric.samples[0].value for metric in metrics]
            value = min(numbers) if name in _LOWEST else sum(numbers)
            if name == _CPU:  # that of ended processes, so that the counter never falls
                ended = resource.getrusage(resource.RUSAGE_CHILDREN)
                value += ended.ru_utime + ended.ru_stime
            first = metrics[0]
            first.samples = [first.samples[0]._replace(value=value)]
            yield first


__all__ = ["merged_registry", "share"]
