"""Refuses webhooks that no worker could deliver, before their jobs are queued."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

from worker.errors import BadJob
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.ledger.worker_registry import WorkerFacts, WorkerRegistry
from worker.settings import Settings
from worker.storage.access_policy import check_webhook
from worker.storage.address import Address

MAX_AGE_S: Final = 5.0
"""Seconds for which the list of workers is used again, so that many submissions do not each read it."""


def undeliverable(url: Address, workers: Sequence[WorkerFacts], settings: Settings) -> str | None:
    """Return the reason why none of `workers` can deliver webhooks to `url`.

    Returns None if one can, or if there are no workers: the settings of later workers are not known. No I/O."""
    reasons = [_reason(url, worker, settings) for worker in workers]
    if not reasons or None in reasons:
        return None
    # A missing secret concerns all webhooks of a worker, so the reason of a worker with a secret is more specific.
    return next((reason for reason in reasons if reason != NO_SECRET), NO_SECRET)


NO_SECRET: Final = "no worker has STT_WEBHOOK_SECRET, which signs webhooks; set it for the workers, and restart them"  # noqa: S105  a message


def _reason(url: Address, worker: WorkerFacts, settings: Settings) -> str | None:
    if not worker.signs_webhooks:
        return NO_SECRET
    try:
        check_webhook(url, settings.model_copy(update={"allowed_webhooks": worker.allowed_webhooks}))
    except BadJob as exc:
        return f"{str(exc).removeprefix(f'{url}: ')} (a setting of the workers, not of this program)"
    return None


class WebhookCheck:
    """Checks webhooks against the settings that the running workers reported. Belongs to one event loop."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._settings = settings
        self._registry = WorkerRegistry(connection, Keys(settings.redis_prefix))
        self._workers: Sequence[WorkerFacts] = ()
        self._read_at = -inf

    async def check(self, urls: Iterable[Address]) -> None:
        """Raise BadJob for an address that no running worker can deliver to, and LedgerUnavailable."""
        for url in urls:
            if not url.is_web:
                raise BadJob(f"{url}: webhooks go to https:// or http:// addresses")
            reason = await self._reason(url, MAX_AGE_S)
            # A worker with other settings may have started since the list was read.
            if reason is not None and (reason := await self._reason(url, 0.0)) is not None:
                raise BadJob(f"{url}: this webhook could never be delivered: {reason}")

    async def _reason(self, url: Address, max_age_s: float) -> str | None:
        if time.monotonic() - self._read_at > max_age_s:
            self._workers, self._read_at = await self._registry.alive(), time.monotonic()
        return undeliverable(url, self._workers, self._settings)


__all__ = ["WebhookCheck", "undeliverable"]
