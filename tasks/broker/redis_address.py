"""Connects kombu to the parsed address of STT_REDIS_URL, with the same options as the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ResponseError
from redis.retry import Retry

from worker.ledger.sentinels import SENTINEL_TIMEOUT_S
from worker.ledger.server_check import hello_facts
from worker.redis_url import RedisAddress

if TYPE_CHECKING:
    from kombu.transport import redis as transport

    _Base = transport.Channel
else:
    _Base = object
_NO_RETRY: Final = {"retry": Retry(NoBackoff(), 0)}
"""For Sentinel: a new connection asks the Sentinels again, while a retry of redis-py 8.1 would use the dead primary."""


class AddressedChannel(_Base):
    """Mixin for channel classes of kombu. Set the transport option `redis_address`. The broker URL of Celery names the
    same server, but kombu reads only parts of it."""

    redis_address: RedisAddress | None = None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        if self.redis_address is not None:
            params |= self.redis_address.server_options()
            if self.redis_address.scheme == "sentinel":
                params |= {**_NO_RETRY, "redis_connect_func": check_primary}
        return params

    @property
    def sentinel_kwargs(self) -> dict[str, Any]:
        """Options of the connections to the Sentinels, read by kombu's SentinelChannel."""
        given = self.redis_address.sentinel_options() if self.redis_address is not None else {}
        timeouts = {"socket_timeout": SENTINEL_TIMEOUT_S, "socket_connect_timeout": SENTINEL_TIMEOUT_S}
        return {**timeouts, **_NO_RETRY, **given}


def check_primary(connection: Any) -> None:
    """Log in, and check that the server is a primary. Raises ConnectionError for a replica, so that the Sentinels are
    asked again. For `redis_connect_func` of redis-py."""
    connection.on_connect_check_health(check_health=False)
    connection.send_command("HELLO", check_health=False)
    try:
        facts = hello_facts(connection.read_response())
    except ResponseError:
        return
    if facts.get("role", "master") != "master":
        raise ConnectionError("the Sentinels name a server that is not the primary now")


__all__ = ["AddressedChannel"]
