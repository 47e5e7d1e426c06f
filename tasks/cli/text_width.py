"""Cuts text to a number of terminal columns. A Chinese character or an emoji takes two columns, an accent none."""

from __future__ import annotations

from bisect import bisect_left

from rich.cells import cell_len, set_cell_size

_CUT = "…"


def pad(text: str, width: int) -> str:
    """Return `text` with exactly `width` columns: cut in the middle, or filled with spaces."""
    return set_cell_size(middle(text, width), width)


def head(text: str, width: int) -> str:
    """Return the beginning of `text` that fits into `width` columns."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + _CUT if width > 0 else ""


def tail(text: str, width: int) -> str:
    """Return the end of `text` that fits into `width` columns."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    # A binary search, because a live view calls this for every row several times per second.
    start = bisect_left(range(len(text)), True, key=lambda at: cell_len(text[at:]) < width)
    return _CUT + text[start:].lstrip()


def middle(text: str, width: int) -> str:
    """Return `text` without its middle if it is wider than `width` columns: the end of a file name often distinguishes
    it from others."""
    if cell_len(text) <= width:
        return text
    last = (width - 1) // 2
    return head(text, width - last) + tail(text, last + 1).removeprefix(_CUT) if width > 2 else head(text, width)
