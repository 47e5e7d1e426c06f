"""Celery's configuration: every setting with its reason. Measurements: Celery and kombu 5.7 on Valkey 9.1."""

from __future__ import annotations

from typing import Any, Final

from worker.ledger import dead_letters
from worker.ledger.keys import UNACKED, Keys
from worker.redis_url import RedisAddress, parse_redis_url
from worker.settings import Settings

_TRANSPORT_OPTIONS: Final = ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval")


def for_settings(settings: Settings) -> dict[str, Any]:
    address, keys = parse_redis_url(settings.redis_url), Keys(settings.redis_prefix)
    return {
        "broker_url": _broker_url(address),
        "broker_use_ssl": _tls_options(address),
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
        "worker_consumer": "tasks.celery_program.reconnecting_consumer:ReconnectingConsumer",
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
            # Timeouts in seconds. Without them a Redis that no longer answers is never detected. A worker leaves a
            # server that hangs after at most twice the interval of the health check.
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            # Key under which tasks.broker.kombu_transport stores unreadable messages.
            "dead_letters_key": keys[dead_letters.KEY],
            "dead_letters_ttl_s": int(settings.result_ttl.total_seconds()),
            # All keys are below STT_REDIS_PREFIX: fleets that share a Redis must not take each other's messages.
            "key_prefix": keys.celery(""),
            **{f"{name}_key": keys.celery(name) for name in UNACKED},
            **_connection_options(address),
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


def _broker_url(address: RedisAddress) -> str:
    """Return the address in kombu's form. Only its scheme, host and database matter, and only for kombu's choice of
    classes and for monitoring programs such as Flower: `tasks.broker.redis_address` sets all options of connections."""
    if address.scheme == "unix":
        return f"redis+socket://{address.login}{address.path}?virtual_host={address.db}"
    places = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in address.hosts]
    if address.scheme == "sentinel":
        # Without the login: the answers to Celery's remote control contain the list of alternatives.
        return ";".join(f"sentinel://{place}/{address.db}" for place in places)
    return f"redis{'s' if address.tls else ''}://{address.login}{places[0]}/{address.db}"


def _connection_options(address: RedisAddress) -> dict[str, Any]:
    """Return the transport options for one parsed STT_REDIS_URL. The options in its query take precedence."""
    given = {name: value for name, value in address.options.items() if name in _TRANSPORT_OPTIONS}
    sentinel = {"master_name": address.master} if address.scheme == "sentinel" else {}
    return {**sentinel, **given, "redis_address": address}


def _tls_options(address: RedisAddress) -> dict[str, Any] | None:
    """Return the options by which kombu recognizes that it must use TLS; `redis_address` has the other ones."""
    return {"ssl_cert_reqs": address.options.get("ssl_cert_reqs", "required")} if address.tls else None
