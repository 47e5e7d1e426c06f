"""A Celery consumer that reconnects soon after an outage of Redis."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer

RETRY_STEP_S: Final = 0.5
MAX_RETRY_S: Final = 2.0
"""Longest pause between two tries to connect, in seconds. Celery's own pauses grow to 30 s, and during such a pause a
worker receives no messages, although Redis answers again."""


class ReconnectingConsumer(Consumer):  # type: ignore[misc]
    def ensure_connected(self, conn: Any) -> Any:
        """Connect to the broker; try again until it succeeds or the worker must stop."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RETRY_STEP_S, interval_step=RETRY_STEP_S, interval_max=MAX_RETRY_S
        )
        return super().ensure_connected(conn)


__all__ = ["ReconnectingConsumer"]
