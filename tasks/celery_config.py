"""Every Celery setting with its reason. Measured with Celery and kombu 5.7 on Valkey 9.1 where it says so."""

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
        # -- a message is a wake-up; the ledger is the truth -------------------------------------------------------
        # Acknowledged when the work ended: a worker that dies leaves its message to be delivered again. The doubles
        # this brings are harmless, the ledger lets one owner write.
        "task_acks_late": True,
        # Also when the task raised. False would drop the message without a word; the ledger knows what failed.
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": True,
        # One message for each free thread, so a worker never sits on work another one could do.
        "worker_prefetch_multiplier": 1,
        # State and transcript are in the ledger, so no result backend and nothing to clean up in one.
        "task_ignore_result": True,
        "result_backend": None,
        # -- pool ----------------------------------------------------------------------------------------------------
        # A task thread only waits for the shared event loop. Measured: gevent loses acknowledged work on SIGTERM,
        # prefork costs 24 MB a session, celery-aio-pool runs one task at a time.
        "worker_pool": "threads",
        "worker_concurrency": settings.worker_sessions,
        # Fails on threads; and the ledger's lease already decides who may go on.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Of no use on threads: the drain of tasks.transcribe gives jobs back at once.
        "worker_soft_shutdown_timeout": 0,
        # -- broker --------------------------------------------------------------------------------------------------
        "broker_connection_retry_on_startup": True,
        # The default gives up after 100 tries, and a worker that is up but deaf is worse than one that waits.
        "broker_connection_max_retries": None,
        # A Redis that answers but refuses writes for a while (disk full, read-only after a failover) ends the worker
        # otherwise, with exit status 0.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            # A job may take hours; a second delivery while it runs is harmless but useless work.
            "visibility_timeout": 43200,
            # How often, in seconds, lapsed deliveries are looked for; the default comes to about 100 s.
            "unacked_restore_interval": 30,
            "unacked_restore_throttle": 1,
            # kombu's pool of 10 fails on a burst of acknowledgements; redis-py's own stops at 100.
            "max_connections": 500,
            # Seconds. Without them a dead peer is noticed never.
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
        # A message can be written by any producer: nothing but JSON is read.
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # Any client that may publish on the broker could end or slow down every worker with it.
        "worker_enable_remote_control": settings.celery_remote_control,
        # -- process -------------------------------------------------------------------------------------------------
        "worker_redirect_stdouts": False,
        "worker_log_format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        "worker_task_log_format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        "enable_utc": True,
    }


def _broker_url(redis_url: str) -> str:
    """The broker's form of the address: kombu names a unix socket in its own way."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"redis+socket://{login}{parts.path}?virtual_host={database}"
