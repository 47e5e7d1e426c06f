"""Checks the workers that run: whether one is alive, their versions, and whether one delivers webhooks."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.batches.number_format import format_count
from tasks.doctor.finding import Finding, ok, warn
from worker.ledger.connection import RedisConnection
from worker.ledger.records import WaitsFor
from worker.ledger.waiting import WAITS_FOR_TEXTS, QueueView, QueueViewReader
from worker.ledger.worker_registry import version_counts
from worker.settings import Settings
from worker.version import installed_version
from worker.webhooks.outbox import Outbox


async def check(settings: Settings, connection: RedisConnection) -> list[Finding]:
    """Read the registry of workers and the queue. Raises LedgerUnavailable."""
    reader = QueueViewReader(settings, connection)
    view = await reader.read()
    waiting = await reader.count_waiting(view)
    webhooks = await Outbox(settings, connection).waiting()
    return of_workers(view, waiting, webhooks, installed_version() or "0")


def of_workers(view: QueueView, waiting: Mapping[WaitsFor, int], webhooks: int, version: str) -> list[Finding]:
    """Return the findings. `waiting`: number of waiting jobs by reason; `webhooks`: waiting webhooks; `version`: that
    of this program. No I/O."""
    found = [_alive(view, sum(waiting.values()))]
    reasons = ", ".join(f"{count} for {WAITS_FOR_TEXTS[reason]}" for reason, count in waiting.items() if count)
    if reasons:
        found.append(ok("queue", f"waiting jobs: {reasons}"))
    versions = version_counts(view.workers)
    if len(versions) > 1 or (versions and version not in versions):
        names = ", ".join(f"{count} of version {name}" for name, count in versions.items())
        text = f"workers run: {names}; this program has version {version}"
        found.append(warn("workers", text, "update the older ones"))
    if webhooks and view.workers and not any(worker.signs_webhooks for worker in view.workers):
        text = f"{format_count(webhooks, 'webhook')} cannot be delivered: no worker has STT_WEBHOOK_SECRET"
        found.append(warn("webhooks", text, "set it for the workers, and restart them"))
    return found


def _alive(view: QueueView, waiting: int) -> Finding:
    if view.workers:
        return ok("workers", f"{format_count(len(view.workers), 'worker')} alive")
    if view.unregistered:
        jobs = format_count(view.unregistered, "job")
        return warn("workers", f"workers of older versions, which do not register, run {jobs}", "update them")
    jobs = f"; {format_count(waiting, 'job')} {'waits' if waiting == 1 else 'wait'}" if waiting else ""
    return warn("workers", f"no worker is alive{jobs}", "start one: stt-batch worker")
