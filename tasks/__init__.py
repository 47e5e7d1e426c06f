"""Jobs in, jobs out: the Celery application, the producer API and the command line.

    from tasks import submit
    handle = submit("/audio/call.wav", out_dir="/transcripts", formats=("json", "srt"))
    handle.status().state

Importing this is cheap: no audio, server or recognizer code comes with it, and Celery only with the first submit.
`celery -A tasks` finds the application as `tasks.celery`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.submit import BatchHandle, JobHandle, submit, submit_many

if TYPE_CHECKING:
    from celery import Celery

    celery: Celery


def __getattr__(name: str) -> Any:
    if name == "celery":
        from tasks.app import app  # noqa: PLC0415  keeps the import of this package light

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["BatchHandle", "JobHandle", "submit", "submit_many"]
