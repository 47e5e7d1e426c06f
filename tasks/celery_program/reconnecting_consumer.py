"""A Celery consumer that reconnects soon after an outage of Redis, and names the reason of the outage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from worker.ledger.outage_reasons import client_limit_reason, replica_reason

_LOG: Final = logging.getLogger(__name__)
RETRY_STEP_S: Final = 0.5
MAX_RETRY_S: Final = 2.0
"""Longest pause between two tries to connect, in seconds. Celery's own pauses grow to 30 s, and during such a pause a
worker receives no messages, although Redis answers again."""
STABLE_S: Final = 5.0
"""Seconds after which a connection counts as stable: the next restart then follows without a pause."""
_POLL_S: Final = 0.1


class RestartPauses:
    """Pauses between restarts of the consumer that follow each other quickly.

    A server that accepts connections but refuses every write, such as a read-only replica, ends the consumer right
    after its start. Celery's class restarts it hundreds of times a second, and logs a traceback each second."""

    def __init__(
        self,
        check: Callable[[], object] = maybe_shutdown,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`check`: called during a pause; raises an exception if the worker must stop. `clock` returns seconds of a
        monotonic clock."""
        self._check, self._clock, self._sleep = check, clock, sleep
        self._pause_s = 0.0
        self._restarted = -STABLE_S

    def step(self) -> None:
        """Wait before a restart. Called by Celery."""
        stable = self._clock() - self._restarted >= STABLE_S
        self._pause_s = 0.0 if stable else min(self._pause_s + RETRY_STEP_S, MAX_RETRY_S)
        deadline = self._clock() + self._pause_s
        while self._clock() < deadline:
            self._check()
            self._sleep(_POLL_S)
        self._restarted = self._clock()


class ReconnectingConsumer(Consumer):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._restart_state = RestartPauses()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect to the broker; try again until it succeeds or the worker must stop."""
        ensure = conn.ensure_connection

        def with_our_pauses(_errback: object, *args: Any, **kwargs: Any) -> Any:
            kwargs |= {"interval_start": RETRY_STEP_S, "interval_step": RETRY_STEP_S, "interval_max": MAX_RETRY_S}
            return ensure(lambda exc, _interval: self._warn(exc), *args, **kwargs)

        conn.ensure_connection = with_our_pauses
        return super().ensure_connected(conn)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Called by Celery if the consumer could not start on a new connection."""
        self._warn(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Called by Celery if a connection is lost, or if the consumer fails during its start after the first
        connection, for example because Redis refuses a second one."""
        super().on_connection_error_after_connected(exc)
        if client_limit_reason(exc) or replica_reason(exc):  # Celery logs every error, but without these reasons
            self._warn(exc)

    def _warn(self, exc: Exception) -> None:
        # Celery's line counts the tries. An equal line each time is suppressed after its third repetition.
        reason = client_limit_reason(exc) or replica_reason(exc) or f"cannot be used: {exc}"
        address = self.app.conf.broker_transport_options["redis_address"].shown
        _LOG.warning("no messages are received, the worker tries again: Redis at %s %s", address, reason)


__all__ = ["ReconnectingConsumer", "RestartPauses"]
