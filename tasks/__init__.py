"""The producer API, the Celery application and the command line.

    from tasks import submit
    handle = submit("/audio/call.wav", out_dir="/transcripts", formats=("json", "srt"))
    handle.status().state

The import of this package is cheap: it loads only the standard library. Other modules are loaded with the first job.
The producer API never loads Celery. `celery -A tasks` finds the application as `tasks.celery`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.client.control import cancel, pause, resume, retry
from tasks.client.handles import (
    AsyncBatchHandle,
    AsyncJobHandle,
    BatchHandle,
    JobHandle,
    submit,
    submit_async,
    submit_many,
    submit_many_async,
)

if TYPE_CHECKING:
    from celery import Celery

    celery: Celery


def __getattr__(name: str) -> Any:
    if name == "celery":
        from tasks.app import app  # noqa: PLC0415  so that importing this package stays cheap

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AsyncBatchHandle",
    "AsyncJobHandle",
    "BatchHandle",
    "JobHandle",
    "cancel",
    "pause",
    "resume",
    "retry",
    "submit",
    "submit_async",
    "submit_many",
    "submit_many_async",
]
