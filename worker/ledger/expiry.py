"""Lifetimes of keys in Redis. Every key expires; the keys of an ended job expire after STT_RESULT_TTL."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

UNFINISHED_TTL: Final = timedelta(days=30)
"""The keys of a job that has not ended expire this long after the last write."""
SPEED_TTL: Final = timedelta(hours=1)
"""How long the last accepted speed of a service is used for new jobs."""
HASH_TTL: Final = timedelta(days=30)
"""Lifetime of a cache entry. `get_many` extends it; `put` can set another one."""
