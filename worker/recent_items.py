"""A list of the latest items of a sequence. No I/O."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class RecentItems(list[T]):
    """The latest items, the oldest first. If there are `limit` items, `append` drops the oldest one.

    A `collections.deque` with `maxlen` does the same, but takes 0.7 KB while it is empty. A session has nine of them,
    and a process may run a thousand sessions."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def append(self, item: T) -> None:
        super().append(item)
        if len(self) > self._limit:
            del self[0]
