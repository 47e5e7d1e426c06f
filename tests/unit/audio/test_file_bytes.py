"""Reads bytes at any position that a header may declare."""

from __future__ import annotations

import io

import pytest

from worker.audio.file_formats.file_bytes import read_at


@pytest.mark.parametrize(
    ("at", "count", "found"),
    [(2, 3, b"cde"), (8, 9, b"ij"), (10, 1, b""), (1 << 63, 4, b""), (1 << 70, 4, b""), (-1, 4, b""), (3, -2, b"")],
)
def test_read_at_accepts_any_position(at: int, count: int, found: bytes) -> None:
    assert read_at(io.BytesIO(b"abcdefghij"), at, count) == found
