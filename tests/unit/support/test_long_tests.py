"""The order in which long tests reach the processes of pytest-xdist."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.long_tests import spread


def test_each_process_begins_with_a_long_test() -> None:
    items = [*"abcdefgh", "LONG1", "LONG2", "LONG3"]
    long = [item.startswith("LONG") for item in items]
    assert spread(items, long, 3) == ["LONG1", "a", "b", "LONG2", "c", "d", "e", "LONG3", "f", "g", "h"]


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 8))
def test_no_test_is_lost_and_the_others_keep_their_order(long: list[bool], processes: int) -> None:
    items = list(range(len(long)))
    found = spread(items, long, processes)
    assert sorted(found) == items
    short = [item for item in items if not long[item]]
    assert [item for item in found if not long[item]] == short
