"""Delivers webhooks from the ledger's outbox. Every worker does this in the background.

A failed attempt is repeated after STT_WEBHOOK_BACKOFF_S seconds, then after four times as many each time, up to
MAX_BACKOFF_S; a Retry-After header of the receiver can lengthen the pause. After STT_WEBHOOK_ATTEMPTS, or when another
attempt could only fail in the same way, the message becomes a dead letter: `stt-batch webhooks` lists it, and
`stt-batch webhooks retry` sends it again.
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
"""Seconds between two reads of an outbox without due messages, with a jitter of a third."""
MAX_CONCURRENT: Final = 16
"""Concurrent attempts in one process."""
MAX_BACKOFF_S: Final = 6 * 3600.0
WARNING_INTERVAL_S: Final = 600.0


class WebhookDeliverer:
    """Delivers due messages. Belongs to one event loop."""

    def __init__(
        self, settings: Settings, outbox: Outbox, sender: WebhookSender, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock`: seconds since 1970."""
        self._settings = settings
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._warned: dict[str, float] = {}

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            tried = 0
            try:
                tried = await self.once()
            except LedgerNewer as exc:
                # Only newer workers can read the messages. This worker finishes its jobs and is then replaced.
                self._warn("webhooks are left to newer workers", error=str(exc))
            except LedgerUnavailable as exc:
                self._warn("webhooks: Redis does not answer", error=str(exc))
            except Exception:
                logger.exception("webhooks: unexpected error; delivery continues")
            if tried < MAX_CONCURRENT:
                await asyncio.sleep(jittered(POLL_S))

    async def once(self) -> int:
        """Try the due messages, at most MAX_CONCURRENT. Returns their number. Raises LedgerUnavailable."""
        await self._outbox.check_batches()
        if not self._sender.signs:
            if waiting := await self._outbox.waiting():
                self._warn("webhooks wait for a worker with STT_WEBHOOK_SECRET; this one has none", waiting=waiting)
            return 0
        messages = await self._outbox.claim(MAX_CONCURRENT)
        results = await asyncio.gather(*(self._deliver(one) for one in messages), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(messages)

    async def _deliver(self, message: Message) -> None:
        log = logger.bind(message=message.id, subject=message.subject, to=message.to, attempt=message.attempts)
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
        elif result.final or message.attempts >= self._settings.webhook_attempts:
            metrics.WEBHOOKS.labels("dead_letter").inc()
            log.warning("webhook undeliverable; see stt-batch webhooks", reason=result.reason)
            await self._outbox.dead_letter(message, result.reason)
        else:
            planned_s = exponential_s(message.attempts - 1, self._settings.webhook_backoff_s, MAX_BACKOFF_S, factor=4.0)
            pause_s = max(result.pause_s, jittered(planned_s, spread=0.2))
            metrics.WEBHOOKS.labels("failed").inc()
            log.warning("webhook not delivered", reason=result.reason, retry_in_s=round(pause_s, 1))
            await self._outbox.retry_later(message, pause_s, result.reason)

    def _warn(self, event: str, **facts: object) -> None:
        """Log the same warning only once in WARNING_INTERVAL_S."""
        if time.monotonic() - self._warned.get(event, float("-inf")) > WARNING_INTERVAL_S:
            self._warned[event] = time.monotonic()
            logger.warning(event, **facts)


async def serve(settings: Settings) -> None:
    """Deliver until cancelled. Raises SettingsError for a bad secret."""
    connection = RedisConnection(settings.redis_url)
    try:
        await WebhookDeliverer(settings, Outbox(settings, connection), WebhookSender(settings)).run()
    finally:
        await connection.close()


__all__ = ["MAX_CONCURRENT", "WebhookDeliverer", "serve"]
