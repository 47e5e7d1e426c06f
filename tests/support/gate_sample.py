"""Chooses a part of the cases of a large parametrized test for the gate."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

import pytest

MARKER = (
    "gate_sample(every): the gate runs one case in `every`, chosen at random, always the same; `matrix` runs the rest"
)


def mark_the_rest(items: Iterable[pytest.Item]) -> None:
    """Add the marker `matrix` to the cases of marked tests that are not in the sample."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("gate_sample") and not item.get_closest_marker("matrix"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, group in cases.items():
        every = _every(group[0])
        chosen = random.Random(name).sample(range(len(group)), -(-len(group) // every))
        for number, item in enumerate(group):
            if number not in chosen:
                item.add_marker("matrix")


def _every(item: pytest.Item) -> int:
    marker = item.get_closest_marker("gate_sample")
    assert marker is not None
    every = marker.args[0]
    assert isinstance(every, int)
    assert every > 1, f"{item.nodeid}: gate_sample(1) would leave nothing out"
    return every
