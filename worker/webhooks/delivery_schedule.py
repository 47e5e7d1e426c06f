"""Delivers webhooks from the outbox in Redis. Every worker does this in the background.

The pause after the first failed attempt is about STT_WEBHOOK_BACKOFF_S seconds. Each further pause is four times as
long, up to MAX_BACKOFF_S. A Retry-After header of the receiver can lengthen a pause. After STT_WEBHOOK_ATTEMPTS
attempts, or when every further attempt would fail in the same way, the message becomes a dead letter: `stt-batch
webhooks` lists it, and `stt-batch webhooks retry` sends it again. While a receiver is paused (see `receiver_limits`),
an attempt to send to it fails without a connection and counts as usual.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from worker import metrics
from worker.backoff import exponential_s, jittered
from worker.errors import LedgerNewer, LedgerUnavailable
from worker.ledger.connection import RedisConnection
from worker.settings import Settings
from worker.storage.address import Address
from worker.webhooks.http_post import MAX_BODY_BYTES, SendResult, WebhookSender
from worker.webhooks.outbox import Message, Outbox
from worker.webhooks.receiver_limits import ReceiverLimits

logger = structlog.get_logger(__name__)
POLL_S: Final = 1.0
"""Mean seconds between two reads of the outbox while few messages are due; each pause is up to a third shorter or
longer."""
SETTLE_S: Final = 0.02
"""Seconds between the end of a delivery and the next read of the outbox, so that deliveries that end together cause one
read."""
MAX_CONCURRENT: Final = 32
"""Maximum number of concurrent attempts, and so of connections, in one process."""
PAUSED: Final = "not tried: this receiver did not answer other webhooks in time"
MAX_BACKOFF_S: Final = 6 * 3600.0
"""Longest planned pause between two attempts, in seconds."""
WARNING_INTERVAL_S: Final = 600.0
"""Minimum seconds between two equal warnings in the log."""


class WebhookDeliverer:
    """Delivers the messages of the outbox whose next attempt is due. Belongs to one event loop.

    A message is only claimed when its delivery can start at once. Each delivery that ends makes room for another one,
    so a slow receiver delays no others (see `receiver_limits`)."""

    def __init__(
        self, settings: Settings, outbox: Outbox, sender: WebhookSender, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock`: returns the time in seconds since 1970, for the signed timestamp of each attempt."""
        self._settings = settings
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._limits = ReceiverLimits()
        self._running: set[asyncio.Task[None]] = set()
        self._warned: dict[str, float] = {}

    async def run(self) -> None:
        """Deliver messages until cancelled. Errors are logged and do not stop the delivery."""
        checked_at = -math.inf
        try:
            while True:
                with self._logged_errors():
                    # Each delivery that ends causes a claim, but the batches need a check only once per POLL_S.
                    if time.monotonic() - checked_at >= POLL_S:
                        await self._outbox.check_batches()
                        checked_at = time.monotonic()
                    await self._start_due()
                await self._until_next_claim()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def once(self) -> int:
        """Make one attempt for each due message that can start at once. Returns their number when all have ended.

        If STT_WEBHOOK_SECRET is not set, no message is sent. Raises LedgerUnavailable and LedgerNewer."""
        await self._outbox.check_batches()
        started = await self._start_due()
        if self._running:
            await asyncio.wait(self._running)
        return started

    async def _start_due(self) -> int:
        """Claim due messages while there are free connections, and start their deliveries. Returns their number."""
        if not self._sender.signs:
            # The messages wait for a worker that has a secret.
            if waiting := await self._outbox.waiting():
                self._warn("webhooks wait for a worker with STT_WEBHOOK_SECRET; this one has none", waiting=waiting)
            return 0
        started, more = 0, True
        while more and (room := MAX_CONCURRENT - len(self._running)) > 0:
            claimed = await self._outbox.claim(room, self._limits.free(time.monotonic()))
            more = claimed.more
            started += len(claimed.messages)
            for message in claimed.messages:
                self._limits.begin(message)
                task = asyncio.create_task(self._delivery(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        return started

    async def _until_next_claim(self) -> None:
        """Wait until a delivery has ended, but at most about POLL_S."""
        pause_s = jittered(POLL_S)
        if not self._running:
            await asyncio.sleep(pause_s)
            return
        ended, _ = await asyncio.wait(self._running, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        if ended:
            await asyncio.sleep(SETTLE_S)

    async def _delivery(self, message: Message) -> None:
        try:
            with self._logged_errors():
                await self._deliver(message)
        finally:
            self._limits.end(message)

    async def _send(self, url: Address, message: Message) -> SendResult:
        """Make one attempt, unless the receiver is paused, and record whether it answered."""
        # The last attempt is always made: no message becomes a dead letter without one.
        is_last = message.attempts >= self._settings.webhook_attempts
        if not is_last and self._limits.is_paused(message, time.monotonic()):
            return SendResult(False, PAUSED)
        result = await self._sender.send(url, message.id, message.body, self._clock())
        if result.timed_out:
            self._limits.timed_out(message, time.monotonic())
        else:
            self._limits.answered(message)
        return result

    async def _deliver(self, message: Message) -> None:
        """Make one attempt, and record its result in the outbox."""
        log = logger.bind(message=message.id, subject=message.subject, to=message.to, attempt=message.attempts)
        # No further attempt can repair a message without a body or without an address.
        if not message.body or message.url is None:
            result = SendResult(False, message.reason, final=True)
        elif len(message.body) > MAX_BODY_BYTES:
            result = SendResult(False, f"the message has more than {MAX_BODY_BYTES} bytes", final=True)
        else:
            result = await self._send(message.url, message)
        if result.delivered:
            metrics.WEBHOOKS.labels("delivered").inc()
            log.info("webhook delivered")
            await self._outbox.mark_delivered(message)
        # `attempts` includes this attempt, because the claim has already counted it.
        elif result.final or message.attempts >= self._settings.webhook_attempts:
            metrics.WEBHOOKS.labels("dead_letter").inc()
            log.warning("webhook undeliverable; see stt-batch webhooks", reason=result.reason)
            await self._outbox.dead_letter(message, result.reason)
        else:
            planned_s = exponential_s(message.attempts - 1, self._settings.webhook_backoff_s, MAX_BACKOFF_S, factor=4.0)
            # The jitter spreads the retries of many webhooks to a receiver that was down.
            pause_s = max(result.pause_s, jittered(planned_s, spread=0.2))
            metrics.WEBHOOKS.labels("failed").inc()
            log.warning("webhook not delivered", reason=result.reason, retry_in_s=round(pause_s, 1))
            await self._outbox.retry_later(message, pause_s, result.reason)

    @contextmanager
    def _logged_errors(self) -> Iterator[None]:
        try:
            yield
        except LedgerNewer as exc:
            # Only workers of a newer version can read the messages. This worker finishes its jobs meanwhile.
            self._warn("webhooks are left to newer workers", error=str(exc))
        except LedgerUnavailable as exc:
            self._warn("webhooks: Redis does not answer", error=str(exc))
        except Exception:
            logger.exception("webhooks: unexpected error; delivery continues")

    def _warn(self, event: str, **facts: object) -> None:
        """Log a warning, unless the same `event` was logged in the last WARNING_INTERVAL_S seconds."""
        if time.monotonic() - self._warned.get(event, float("-inf")) > WARNING_INTERVAL_S:
            self._warned[event] = time.monotonic()
            logger.warning(event, **facts)


async def serve(settings: Settings) -> None:
    """Open a connection to Redis, and deliver webhooks until cancelled. Raises SettingsError for an invalid
    STT_WEBHOOK_SECRET."""
    connection = RedisConnection(settings.redis_url)
    try:
        await WebhookDeliverer(settings, Outbox(settings, connection), WebhookSender(settings)).run()
    finally:
        await connection.close()


__all__ = ["MAX_CONCURRENT", "WebhookDeliverer", "serve"]
