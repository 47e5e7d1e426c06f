"""Delivers webhooks from the outbox in Redis. Every worker does this in the background.

The pause after the first failed attempt is about STT_WEBHOOK_BACKOFF_S seconds. Each further pause is four times as
long, up to MAX_BACKOFF_S. A Retry-After header of the receiver can lengthen a pause. After STT_WEBHOOK_ATTEMPTS
attempts, or when every further attempt would fail in the same way, the message becomes a dead letter: `stt-batch
webhooks` lists it, and `stt-batch webhooks retry` sends it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from worker import metrics
from worker.backoff import exponential_s, jittered
from worker.errors import LedgerNewer, LedgerUnavailable
from worker.ledger.connection import RedisConnection
from worker.settings import Settings
from worker.webhooks.http_post import MAX_BODY_BYTES, SendResult, WebhookSender
from worker.webhooks.outbox import Message, Outbox

logger = structlog.get_logger(__name__)
POLL_S: Final = 1.0
"""Mean seconds between two reads of the outbox while few messages are due; each pause is up to a third shorter or
longer."""
MAX_CONCURRENT: Final = 16
"""Maximum number of concurrent attempts in one process."""
MAX_BACKOFF_S: Final = 6 * 3600.0
"""Longest planned pause between two attempts, in seconds."""
WARNING_INTERVAL_S: Final = 600.0
"""Minimum seconds between two equal warnings in the log."""


class WebhookDeliverer:
    """Delivers the messages of the outbox whose next attempt is due. Belongs to one event loop."""

    def __init__(
        self, settings: Settings, outbox: Outbox, sender: WebhookSender, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock`: returns the time in seconds since 1970, for the signed timestamp of each attempt."""
        self._settings = settings
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._warned: dict[str, float] = {}

    async def run(self) -> None:
        """Deliver messages until cancelled. Errors are logged and do not stop the delivery."""
        while True:
            tried = 0
            try:
                tried = await self.once()
            except LedgerNewer as exc:
                # Only workers of a newer version can read the messages. This worker finishes its jobs meanwhile.
                self._warn("webhooks are left to newer workers", error=str(exc))
            except LedgerUnavailable as exc:
                self._warn("webhooks: Redis does not answer", error=str(exc))
            except Exception:
                logger.exception("webhooks: unexpected error; delivery continues")
            # If the maximum number of messages was delivered, more messages are probably due, so the next call follows
            # at once.
            if tried < MAX_CONCURRENT:
                await asyncio.sleep(jittered(POLL_S))

    async def once(self) -> int:
        """Make one attempt for each due message, for at most MAX_CONCURRENT messages. Returns their number.

        If STT_WEBHOOK_SECRET is not set, no message is sent. Raises LedgerUnavailable and LedgerNewer."""
        # This is also done without a secret. The messages then wait for a worker that has a secret.
        await self._outbox.check_batches()
        if not self._sender.signs:
            if waiting := await self._outbox.waiting():
                self._warn("webhooks wait for a worker with STT_WEBHOOK_SECRET; this one has none", waiting=waiting)
            return 0
        messages = await self._outbox.claim(MAX_CONCURRENT)
        # All attempts are awaited before an error is raised: the result of each must be recorded, or its receiver gets
        # the webhook again.
        results = await asyncio.gather(*(self._deliver(one) for one in messages), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(messages)

    async def _deliver(self, message: Message) -> None:
        """Make one attempt, and record its result in the outbox."""
        log = logger.bind(message=message.id, subject=message.subject, to=message.to, attempt=message.attempts)
        # No further attempt can repair a message without a body or without an address.
        if not message.body or message.url is None:
            result = SendResult(False, message.reason, final=True)
        elif len(message.body) > MAX_BODY_BYTES:
            result = SendResult(False, f"the message has more than {MAX_BODY_BYTES} bytes", final=True)
        else:
            result = await self._sender.send(message.url, message.id, message.body, self._clock())
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
