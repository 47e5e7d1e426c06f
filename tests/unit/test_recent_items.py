"""A list of limited length behaves like a `deque` with `maxlen`."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from worker.recent_items import RecentItems


@given(st.integers(1, 5), st.lists(st.integers()))
def test_the_latest_items_stay(limit: int, items: list[int]) -> None:
    recent: RecentItems[int] = RecentItems(limit)
    expected: deque[int] = deque(maxlen=limit)
    for item in items:
        recent.append(item)
        expected.append(item)
        assert recent == list(expected)
