"""Cancels, pauses, resumes and retries jobs, by id or as whole batches.

    from tasks import cancel
    cancel("8c0f3a…")       # a running job stops within two seconds; its committed text is preserved

The functions block. This module imports only the standard library; other modules are loaded by the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.client.producer import Producer
    from worker.ledger.ledger import JobRecord, Ledger
    from worker.settings import Settings


def cancel(*names: str, settings: Settings | None = None) -> list[str]:
    """Cancel waiting and running jobs, by their ids or as whole batches. Returns the ids of the cancelled jobs.

    Raises BadJob for a name that is neither a job nor a batch, and LedgerUnavailable if Redis does not answer.
    """
    return _call("cancel", settings, names)


def retry(*names: str, settings: Settings | None = None) -> list[str]:
    """Queue failed, incomplete and cancelled jobs again, by their ids or as whole batches. Returns the ids of the
    queued jobs, which continue after their committed text. Raises BadJob and LedgerUnavailable, like `cancel`."""
    return _call("retry", settings, names)


def pause(*names: str, settings: Settings | None = None) -> list[str]:
    """Pause waiting and running jobs or batches until `resume`. Returns the ids of the changed jobs. Raises BadJob and
    LedgerUnavailable, like `cancel`."""
    return _call("pause", settings, names)


def resume(*names: str, settings: Settings | None = None) -> list[str]:
    """Resume paused jobs or batches, which continue after their committed text. Returns the ids of the changed jobs.
    Raises BadJob and LedgerUnavailable, like `cancel`."""
    return _call("resume", settings, names)


def _call(what: str, settings: Settings | None, names: Sequence[str]) -> list[str]:
    from tasks.client.producer import shared_producer  # noqa: PLC0415
    from tasks.event_loop import shared_loop  # noqa: PLC0415
    from worker.settings import load  # noqa: PLC0415

    control = Control(shared_producer(settings or load()))
    changed: list[str] = shared_loop().call(getattr(control, what)(names))
    return changed


class Control:
    """The functions of this module as coroutines, which run on the event loop of the producer."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._ledger: Ledger = producer.ledger

    async def cancel(self, names: Sequence[str]) -> list[str]:
        return await self.cancel_jobs(await self._jobs(names))

    async def cancel_jobs(self, job_ids: Sequence[str]) -> list[str]:
        """Cancel jobs by their ids. Returns the ids of the cancelled jobs."""
        answers = await self._ledger.cancel_many(job_ids)
        ended = [one.job_id for one in answers if one is not None and one.before != one.state]
        await self._producer.events.publish_many([("cancelled", job_id, {}) for job_id in ended])
        return ended

    async def retry(self, names: Sequence[str]) -> list[str]:
        return await self.retry_jobs(await self._ledger.get_many(await self._jobs(names)))

    async def retry_failed(self, batch: str | None) -> list[str]:
        """Retry all failed and incomplete jobs of a batch, or of the whole ledger if `batch` is None. Cancelled jobs
        are not retried."""
        ids = await self._jobs([batch]) if batch is not None else await self._ledger.recent_jobs(limit=None)
        records = await self._ledger.get_many(ids)
        return await self.retry_jobs([one for one in records if one is not None and one.state != "cancelled"])

    async def pause_jobs(self, job_ids: Sequence[str], *, on: bool, batch: str | None = None) -> list[str]:
        """Pause jobs by their ids, or resume them with `on=False`. Returns the ids of the changed jobs. `batch`: see
        `Ledger.pause`."""
        changed = await self._ledger.pause(job_ids, batch=batch, on=on)
        if not on:
            await self._producer.wake(changed)
        return changed

    async def pause(self, names: Sequence[str]) -> list[str]:
        return await self._hold(names, on=True)

    async def resume(self, names: Sequence[str]) -> list[str]:
        changed = await self._hold(names, on=False)
        await self._producer.wake(changed)
        return changed

    async def _hold(self, names: Sequence[str], *, on: bool) -> list[str]:
        changed = []
        for name in names:
            ids = await self._ledger.batch(name)
            jobs = ids or await self._jobs([name])
            changed += await self._ledger.pause(jobs, batch=name if ids else None, on=on)
        return changed

    async def retry_jobs(self, records: Sequence[JobRecord | None]) -> list[str]:
        """Queue those of the jobs again that failed, are incomplete or were cancelled. Returns their ids."""
        queued = []
        for record in records:
            if record is None or record.state not in ("failed", "incomplete", "cancelled"):
                continue
            answer = await self._ledger.retry(record.id)
            if answer is not None and answer.before != answer.state:
                queued.append(record.id)
        await self._producer.wake(queued)
        await self._producer.events.publish_many([("queued", job_id, {}) for job_id in queued])
        return queued

    async def jobs(self, names: Sequence[str]) -> list[str]:
        """Return the ids of the named jobs and of the jobs in the named batches. Raises BadJob for an unknown name."""
        return await self._jobs(names)

    async def _jobs(self, names: Sequence[str]) -> list[str]:
        """Return the ids of the named jobs and of the jobs in the named batches, without repetitions. Raises BadJob."""
        from worker.errors import BadJob  # noqa: PLC0415

        jobs: dict[str, Any] = {}
        for name in names:
            ids = await self._ledger.batch(name)
            if not ids and await self._ledger.get(name) is None:
                raise BadJob(f"{name}: no such job or batch in this Redis, or it has expired; see `stt-batch status`")
            jobs |= dict.fromkeys(ids or [name])
        return list(jobs)
