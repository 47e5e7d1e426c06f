"""A worker whose Celery consumer (the part that receives messages) fails with an error that Celery cannot handle."""

from __future__ import annotations

from celery.worker.consumer import consumer

from tasks.celery_worker import run_worker


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("a bug that ends the consumer")


consumer.Consumer.create_task_handler = _fail
run_worker()
