"""The connection to Redis or Valkey. The only module that imports `redis`; it translates the errors of that library.

Every command has a timeout and is retried, after random pauses, before LedgerUnavailable is raised. If the answer to a
command is lost, the retry runs the command a second time. So every script of the ledger gives the same answer to a
repeated call.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,
    DataError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from worker.errors import LedgerRefused, LedgerUnavailable, SettingsError

MAX_RETRIES: Final = 4
COMMAND_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 64
"""Maximum of open connections of one process. If all are in use, a command waits up to COMMAND_TIMEOUT_S for one."""

_TEMPORARY: Final = re.compile(
    r"\b(OOM|MISCONF|READONLY|LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|NOSCRIPT|UNBLOCKED|EXECABORT)\b"
    r"|max number of clients"
)
"""Matches error texts of temporary refusals: memory or disk is full, Redis is busy or still starts, or another server
is about to take over."""
_CODES: Final = {
    "OutOfMemoryError",
    "ReadOnlyError",
    "NoScriptError",
    "TryAgainError",
    "ClusterDownError",
    "ExecAbortError",
}
"""Names of the redis-py exceptions for temporary refusals whose text lacks the error code that _TEMPORARY matches."""
_LUA: Final = Path(__file__).with_name("lua")
_SHARED: Final = ("common", "webhook_message", "end_job")
"""Lua files that are put before the text of every script, in this order: each uses functions of the earlier ones."""


def redacted(url: str) -> str:
    """Return the address without user, password and query, for messages."""
    # The query may also contain a password (redis-py accepts `?password=`).
    return re.sub(r"//[^@/]*@", "//", url).split("?", 1)[0]


def is_permanent(error: BaseException) -> bool:
    """Whether Redis would refuse the same command again: wrong type of key, missing permission, wrong argument.

    Callers repeat commands after an outage. Without this check they would repeat a permanently refused command
    forever."""
    if isinstance(error, DataError):
        return True
    # redis-py removes the code from some messages ("OOM command not allowed" becomes OutOfMemoryError: "command not
    # allowed"), so the names of the classes are checked too.
    temporary = _TEMPORARY.search(str(error)) or any(kind.__name__ in _CODES for kind in type(error).__mro__)
    return isinstance(error, ResponseError) and not temporary


@cache
def script_text(name: str) -> str:
    """Return the Lua source of a script of the ledger, preceded by the functions that all scripts share."""
    return "\n".join((_LUA / f"{part}.lua").read_text("utf-8") for part in (*_SHARED, name))


class ScriptRunner(Protocol):
    """Runs the Lua scripts of the ledger. Implemented by `RedisConnection` and by stand-ins in tests."""

    async def script(self, name: str, keys: Sequence[str], args: Sequence[str | int | float]) -> Any: ...


class RedisConnection:
    """A pool of at most MAX_CONNECTIONS connections. It can only be used in the event loop of its first command."""

    def __init__(self, url: str, *, retries: int = MAX_RETRIES) -> None:
        """`url`: redis://, rediss:// or unix://. Raises SettingsError for other addresses."""
        self.address = redacted(url)
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=COMMAND_TIMEOUT_S,
                socket_timeout=COMMAND_TIMEOUT_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_keepalive=True,
                # Load balancers and firewalls drop idle connections silently, often after 60 s or more.
                health_check_interval=25,
                decode_responses=True,
                # By default, a command fails if one of the values that it reads is not UTF-8, even if all other values
                # are valid.
                encoding_errors="backslashreplace",
                retry=Retry(ExponentialWithJitterBackoff(cap=2.0, base=0.1), retries),
                # BusyLoadingError: a server that has just been restarted refuses commands until it has read its data.
                retry_on_error=[BusyLoadingError, ConnectionError, TimeoutError],
            )
        except ValueError as exc:
            # If the host of an address is forgotten, the password stands in its place, and both texts quote it.
            shown = self.address if re.fullmatch(r"\w+://[\w.-]+(:\d+)?(/.*)?", self.address) else "the value"
            why = str(exc) if "://" in str(exc) or "IPv6" in str(exc) else "its host or port cannot be read"
            raise SettingsError(f"STT_REDIS_URL: {shown} is not an address of Redis: {why}") from None
        self._redis: Redis = Redis(connection_pool=pool)
        # `AsyncScript` sends the script again if Redis has lost it (NOSCRIPT), for example after a restart.
        self._scripts: dict[str, AsyncScript] = {}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate errors of a command, and raise CancelledError if the task was cancelled during the command.

        redis-py 8.1 can lose a cancellation, and the command then returns as usual. This happens if the cancellation
        arrives while redis-py connects, or after the answer has arrived but before redis-py reads the answer. So this
        context also compares the task's cancellation count before and after the command: if it has risen, the task was
        cancelled.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        try:
            with self._our_errors():
                yield
        finally:
            # Without this, a job that was cancelled would start its next step as if nothing had happened.
            if task is not None and task.cancelling() > before:
                raise asyncio.CancelledError

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        """Translate the exceptions of redis-py to LedgerUnavailable (temporary) or LedgerRefused (permanent)."""
        try:
            yield
        except NoPermissionError as exc:
            raise LedgerRefused(
                f"Redis at {self.address} refuses a command of this user ({exc}); grant the user of STT_REDIS_URL the "
                "rights that docs/guides/service.md shows for `worker`"
            ) from exc
        except (AuthenticationError, AuthorizationError) as exc:
            raise LedgerUnavailable(f"Redis at {self.address} refuses the login; check STT_REDIS_URL ({exc})") from exc
        except (ConnectionError, TimeoutError, OSError) as exc:
            raise LedgerUnavailable(
                f"Redis at {self.address} does not answer ({exc or type(exc).__name__}); "
                "start it, or set STT_REDIS_URL to the right address"
            ) from exc
        except RedisError as exc:
            if is_permanent(exc):
                raise LedgerRefused(
                    f"Redis at {self.address} permanently refuses a command: {exc}; another program may have "
                    "written to a key below STT_REDIS_PREFIX"
                ) from exc
            raise LedgerUnavailable(f"Redis at {self.address} refused a command: {exc}") from exc

    async def script(self, name: str, keys: Sequence[str], args: Sequence[str | int | float]) -> Any:
        """Run a script of the folder `lua/`. Returns the answer as Redis sends it: int, str or list."""
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._redis.register_script(script_text(name))
        with self._translated():
            return await script(keys=keys, args=args)

    async def script_many(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[str | int | float]]]
    ) -> list[Any]:
        """Run a script once for each (keys, args) in one round trip, and return the answers in order.

        Pass at most some hundred calls, because Redis may serve other clients only after the last call."""
        text = script_text(name)
        # Redis identifies scripts by their SHA-1. The hash is not used for security.
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

        def queue(pipeline: Any) -> None:
            # Load the script in the same round trip, because EVALSHA in a pipeline cannot be repeated after NOSCRIPT.
            pipeline.script_load(text)
            for keys, args in calls:
                pipeline.evalsha(sha, len(keys), *keys, *args)

        # The first answer is that of SCRIPT LOAD.
        return (await self.pipeline(queue))[1:]

    async def call(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        """Run one command, for example `await connection.call(lambda redis: redis.get(key))`."""
        with self._translated():
            return await command(self._redis)

    async def pipeline(self, queue: Callable[[Any], object], *, each: bool = False) -> list[Any]:
        """Call `queue` with a pipeline, and run the commands that it adds to the pipeline in one round trip.

        Returns the answers in the order of the commands. The commands are not a transaction. A refused command raises
        its error. With `each`, the error of a permanently refused command is not raised but returned, at the position
        of the answer."""
        with self._translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                queue(pipeline)
                answers = list(await pipeline.execute(raise_on_error=not each))
            # A temporary refusal of one command (memory full, read-only replica) concerns all commands. It is raised,
            # so that the caller repeats the whole pipeline.
            for answer in answers:
                if isinstance(answer, Exception) and not is_permanent(answer):
                    raise answer
            return answers

    async def close(self) -> None:
        """Close all connections."""
        with self._translated():
            await self._redis.aclose()
            await self._redis.connection_pool.disconnect()
