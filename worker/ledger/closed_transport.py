"""Redis connections that report a closed connection as ConnectionError on every event loop.

If the server closes a connection between two steps of a command, uvloop raises RuntimeError where asyncio raises
OSError. redis-py 8.1 handles only OSError: it would not retry the command, and a job would end with an unknown error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError

_CLOSED: Final = "the handler is closed"
"""End of uvloop's message. Its exception has no class of its own."""


@contextmanager
def closed_as_connection_error() -> Iterator[None]:
    """Replace uvloop's RuntimeError for a closed connection by ConnectionError."""
    try:
        yield
    except RuntimeError as exc:
        if _CLOSED not in str(exc):
            raise
        raise ConnectionError("the server closed the connection") from exc


class _ClosedAsConnectionError(AbstractConnection):
    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        with closed_as_connection_error():
            await super().send_packed_command(command, check_health)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        with closed_as_connection_error():
            return await super().read_response(*args, **options)


class ServerConnection(_ClosedAsConnectionError, Connection):
    """A connection to a host and port."""


class ServerSSLConnection(_ClosedAsConnectionError, SSLConnection):
    """The same over TLS."""


class ServerUnixConnection(_ClosedAsConnectionError, UnixDomainSocketConnection):
    """A connection to a Unix socket."""


__all__ = ["ServerConnection", "ServerSSLConnection", "ServerUnixConnection", "closed_as_connection_error"]
