"""Spreads the longest tests over the processes of pytest-xdist.

At the start, each process gets a contiguous part of the tests. Others take tests from it later, but never its last two.
So long tests that follow each other, or stand at the end, run one after another while the other processes wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any, Final

import pytest

LONG_S: Final = 900.0
"""Tests that may take at least this time are long."""


def spread(items: Sequence[Any], long: Sequence[bool], processes: int) -> list[Any]:
    """Return the items in an order in which the parts of the `processes` begin with the long items, in turn."""
    sizes, left = [], len(items)
    for number in range(processes):
        sizes.append(left // (processes - number))  # as pytest-xdist divides them
        left -= sizes[-1]
    parts: list[list[Any]] = [[] for _ in sizes]
    places = cycle(range(processes))
    for chosen in (True, False):
        for item in (item for item, is_long in zip(items, long, strict=True) if is_long is chosen):
            # Only the long ones take turns; the others stay in order.
            turns = places if chosen else range(processes)
            parts[next(n for n in turns if len(parts[n]) < sizes[n])].append(item)
    return [item for part in parts for item in part]


def may_take_s(item: pytest.Item) -> float:
    """Return the time limit of a test in seconds, or 0 if it has the default."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker is not None and marker.args else 0.0
