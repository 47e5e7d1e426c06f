"""Celery's configuration: every setting with its reason. Measurements: Celery and kombu 5.7 on Valkey 9.1."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from worker.ledger import dead_letters
from worker.ledger.keys import Keys
from worker.settings import Settings


def for_settings(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": _broker_url(settings.redis_url),
        "task_default_queue": settings.queue,
        # -- a message only wakes a worker; the ledger has the jobs ------------------------------------------------
        # Acknowledge a message after its task, so that the message of a worker that died is delivered again. Duplicate
        # messages do no harm, because the ledger allows one owner per job.
        "task_acks_late": True,
        # Acknowledge a message even if its task raised an exception, because the ledger records failed jobs.
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": True,
        # A worker reserves at most one message for each free thread, because another worker could handle further
        # messages.
        "worker_prefetch_multiplier": 1,
        # The ledger stores state and transcript, so a result backend is not needed.
        "task_ignore_result": True,
        "result_backend": None,
        # -- pool ----------------------------------------------------------------------------------------------------
        # A task thread only waits for the shared event loop. Measured: gevent loses acknowledged work on SIGTERM,
        # prefork costs 24 MB a session, celery-aio-pool runs one task at a time.
        "worker_pool": "threads",
        "worker_concurrency": settings.worker_sessions,
        # Cancelling tasks does not work with threads, and the lease in the ledger already decides which worker may
        # continue a job after a lost connection.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A soft shutdown is not needed: at SIGTERM, `tasks.execution.process_lifecycle` releases the jobs at once.
        "worker_soft_shutdown_timeout": 0,
        # -- broker --------------------------------------------------------------------------------------------------
        "broker_connection_retry_on_startup": True,
        # None: reconnect forever. By default Celery gives up after 100 tries and then runs without receiving messages.
        "broker_connection_max_retries": None,
        # Without this setting, the worker ends with exit status 0 if Redis answers but refuses writes for some time
        # (disk full, read-only after a failover).
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            # Seconds until an unacknowledged message is delivered again. A job may take hours; a second delivery while
            # it runs does no harm but costs time.
            "visibility_timeout": 43200,
            # Seconds between two searches for unacknowledged messages of that age; about 100 s with the defaults.
            "unacked_restore_interval": 30,
            "unacked_restore_throttle": 1,
            # kombu's pool of 10 connections fails on a burst of acknowledgements; redis-py's default is 100.
            "max_connections": 500,
            # Timeouts in seconds. Without them a Redis that no longer answers is never detected.
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
            # Key under which tasks.broker.kombu_transport stores unreadable messages.
            "dead_letters_key": Keys(settings.redis_prefix)[dead_letters.KEY],
            "dead_letters_ttl_s": int(settings.result_ttl.total_seconds()),
        },
        "redis_max_connections": 500,
        # -- safety --------------------------------------------------------------------------------------------------
        # Any producer can write messages, so only JSON is accepted.
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # The remote control is off by default, because any client that may publish on the broker could end or slow down
        # every worker.
        "worker_enable_remote_control": settings.celery_remote_control,
        # Flower shows the workers and tasks of which it receives events.
        "worker_send_task_events": settings.celery_remote_control,
        # -- process -------------------------------------------------------------------------------------------------
        "worker_redirect_stdouts": False,
        "worker_log_format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        "worker_task_log_format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        "enable_utc": True,
    }


def _broker_url(redis_url: str) -> str:
    """Return the Redis URL as kombu expects it. For unix sockets kombu has its own URL scheme."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"redis+socket://{login}{parts.path}?virtual_host={database}"
