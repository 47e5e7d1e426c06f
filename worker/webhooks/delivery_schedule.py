"""Delivers webhooks: in every worker, beside its jobs, from the outbox of the ledger.

An attempt that fails is repeated after STT_WEBHOOK_BACKOFF_S seconds, then after four times as many each time, up to
MAX_BACKOFF_S, or when the receiver says (Retry-After). After STT_WEBHOOK_ATTEMPTS, or when another attempt could only
end in the same way, the message becomes a dead letter: `stt-batch webhooks` shows it, `stt-batch webhooks retry`
sends it again.
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
"""Seconds between two looks into an outbox in which nothing is due, give or take a third."""
MAX_CONCURRENT: Final = 16
"""Attempts at the same time in one process."""
MAX_BACKOFF_S: Final = 6 * 3600.0
WARNING_INTERVAL_S: Final = 600.0


class WebhookDeliverer:
    """`run` goes on until it is cancelled. Belongs to one event loop."""

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
        while True:
            tried = 0
            try:
                tried = await self.once()
            except LedgerNewer as exc:
                # Those are for newer workers. This one ends what it has, and is replaced.
                self._warn("webhooks are left to newer workers", error=str(exc))
            except LedgerUnavailable as exc:
                self._warn("webhooks: Redis is away", error=str(exc))
            except Exception:
                logger.exception("webhooks: unexpected error; it goes on")
            if tried < MAX_CONCURRENT:
                await asyncio.sleep(jittered(POLL_S))

    async def once(self) -> int:
        """Try what is due now, at most MAX_CONCURRENT messages; how many there were. Raises LedgerUnavailable."""
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
            answer = SendResult(False, message.reason, final=True)
        elif len(message.body) > MAX_BODY_BYTES:
            answer = SendResult(False, f"the message has more than {MAX_BODY_BYTES} bytes", final=True)
        else:
            answer = await self._sender.send(message.url, message.id, message.body, self._clock())
        if answer.delivered:
            metrics.WEBHOOKS.labels("delivered").inc()
            log.info("webhook delivered")
            await self._outbox.mark_delivered(message)
        elif answer.final or message.attempts >= self._settings.webhook_attempts:
            metrics.WEBHOOKS.labels("dead_letter").inc()
            log.warning("webhook undeliverable; see stt-batch webhooks", reason=answer.reason)
            await self._outbox.dead_letter(message, answer.reason)
        else:
            planned_s = exponential_s(message.attempts - 1, self._settings.webhook_backoff_s, MAX_BACKOFF_S, factor=4.0)
            pause_s = max(answer.pause_s, jittered(planned_s, spread=0.2))
            metrics.WEBHOOKS.labels("failed").inc()
            log.warning("webhook not delivered", reason=answer.reason, again_in_s=round(pause_s, 1))
            await self._outbox.retry_later(message, pause_s, answer.reason)

    def _warn(self, event: str, **facts: object) -> None:
        """The same line once in WARNING_INTERVAL_S, while it holds."""
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
