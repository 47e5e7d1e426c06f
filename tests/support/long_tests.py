"""Spreads the longest tests over the processes of pytest-xdist.

At the start, pytest-xdist gives each process a contiguous part of the tests. Idle processes later take tests from the
end of another part, but they leave at least two. So long tests that are neighbours, or at the end of a part, run one
after another while other processes are idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from math import inf
from typing import Any, Final

import pytest

LONG_S: Final = 900.0
"""Tests whose time limit is at least this many seconds are long."""


def spread(items: Sequence[Any], long: Sequence[bool], processes: int) -> list[Any]:
    """Reorder the items: the long ones are distributed evenly over the parts of the `processes`, and come first in
    their part. The others keep their order."""
    sizes, left = [], len(items)
    for number in range(processes):
        sizes.append(left // (processes - number))  # as pytest-xdist divides them
        left -= sizes[-1]
    parts: list[list[Any]] = [[] for _ in sizes]
    places = cycle(range(processes))
    for chosen in (True, False):
        for item in (item for item, is_long in zip(items, long, strict=True) if is_long is chosen):
            # The others fill the parts in order.
            turns = places if chosen else range(processes)
            parts[next(n for n in turns if len(parts[n]) < sizes[n])].append(item)
    return [item for part in parts for item in part]


def may_take_s(item: pytest.Item) -> float:
    """Return the time limit of a test in seconds: 0 if it has the default, infinite if it has none."""
    marker = item.get_closest_marker("timeout")
    if marker is None:
        return 0.0
    limit_s = marker.args[0] if marker.args else marker.kwargs.get("timeout")
    return float(limit_s) if limit_s else inf
