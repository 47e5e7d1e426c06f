"""Formats the workers that are alive, and the reasons why jobs wait, for `status`, `list` and `submit`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console

from tasks.batches.number_format import format_count
from tasks.cli.terminal_output import safe
from tasks.job_spec import JobStatus
from worker.ledger.records import WaitsFor
from worker.ledger.waiting import NO_WORKER, WAITS_FOR_TEXTS, QueueView
from worker.ledger.worker_registry import version_counts

_STATES: Final = {
    WaitsFor.SLOT: "waits for a session",
    WaitsFor.RETRY: "retry",
    WaitsFor.PAUSE: "paused",
    WaitsFor.KEY: "key paused",
    WaitsFor.NEWER_VERSION: "newer version",
}


def state_text(job: JobStatus) -> str:
    """Return the state of a job for a table, with the reason why it waits if a person may have to act."""
    if job.waits_for is WaitsFor.WORKER:
        return f"{job.state} (no worker)" if job.waits_text == NO_WORKER else job.state.value
    why = "paused" if job.paused else _STATES.get(job.waits_for) if job.waits_for is not None else None
    return f"{job.state} ({why})" if why else job.state.value


def count_reasons(jobs: Sequence[JobStatus]) -> dict[str, int]:
    """Return the number of waiting jobs for each reason that occurs."""
    return dict(Counter(job.waits_for.value for job in jobs if job.waits_for is not None))


def waiting_lines(jobs: Sequence[JobStatus]) -> list[str]:
    """Return one line with the number of waiting jobs for each reason, or no line if none waits."""
    counts = Counter(job.waits_for for job in jobs if job.waits_for is not None)
    if not counts:
        return []
    return [
        "  waiting: " + ", ".join(f"{count} for {WAITS_FOR_TEXTS[reason]}" for reason, count in counts.most_common())
    ]


def workers_text(view: QueueView) -> str:
    """Return one line about the workers that are alive and their versions."""
    if view.no_worker:
        return NO_WORKER
    if not view.workers:
        return f"workers of older versions run {format_count(view.unregistered, 'job')}; they do not report themselves"
    versions = ", ".join(f"version {name} ×{count}" for name, count in version_counts(view.workers).items())
    sessions, running = (
        sum(numbers) for numbers in zip(*((w.max_sessions, w.jobs) for w in view.workers), strict=True)
    )
    return f"{format_count(len(view.workers), 'worker')} alive ({versions}): {running} of {sessions} jobs at once"


def print_workers(console: Console, view: QueueView, *, always: bool) -> None:
    """Print the line about the workers. If not `always`, only when none is alive."""
    if view.no_worker:
        console.print(f"[yellow]{safe(workers_text(view))}[/]", soft_wrap=True)
    elif always:
        console.print(safe(workers_text(view)), soft_wrap=True)


def workers_json(view: QueueView) -> dict[str, Any]:
    """Return the workers and paused keys as fields of a JSON document."""
    hidden = ("allowed_webhooks", "waiting")
    workers = [{k: v for k, v in asdict(worker).items() if k not in hidden} for worker in view.workers]
    return {
        "workers": workers,
        "versions": version_counts(view.workers),
        "paused_keys": [asdict(key) for key in view.paused_keys],
    }


__all__ = [
    "count_reasons",
    "print_workers",
    "state_text",
    "waiting_lines",
    "workers_json",
    "workers_text",
]
