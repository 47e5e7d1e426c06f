"""The connection to Redis or Valkey. The only module that imports `redis`; it translates the errors of that library.

Every command has a timeout and is retried, after random pauses, before LedgerUnavailable is raised. All tries together
have a time limit as well. If the answer to a command is lost, the retry runs the command a second time. So every script
of the ledger gives the same answer to a repeated call.
"""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    ConnectionError,
    DataError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from worker.errors import LedgerRefused, LedgerUnavailable, SettingsError
from worker.ledger.command_limit import enforced_limit, limit_s
from worker.ledger.connection_pool import close_pool, make_pool
from worker.ledger.outage_reasons import IS_REPLICA, client_limit_reason, replica_reason
from worker.ledger.server_check import UnsupportedServer, hello_facts
from worker.redis_url import CLUSTER_UNSUPPORTED, parse_redis_url

REPLICAS_TIMEOUT_S: Final = 10.0
"""Maximum seconds until STT_REDIS_REPLICAS replicas have confirmed a write. The write is repeated meanwhile."""
WAIT_MS: Final = 1000
"""Maximum milliseconds of one command WAIT. Shorter than the timeout of a command."""
CALL_LIMIT_S: Final = 15.0
"""Maximum seconds of a call with all its retries, unless the caller sets another limit. A server that hangs accepts
connections, so retries of a command alone could wait for minutes."""
WORKER_CALL_LIMIT_S: Final = 60.0
"""The same for the running jobs of a worker, which lose work if a call fails."""

_TEMPORARY: Final = re.compile(
    r"\b(OOM|MISCONF|READONLY|LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|NOSCRIPT|UNBLOCKED|EXECABORT)\b"
    r"|max number of clients"
)
"""Matches error texts of temporary refusals: memory or disk is full, Redis is busy or still starts, or another server
is about to take over."""
_NO_DATABASE: Final = "DB index is out of range"
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


class ReadOnlyReplica(LedgerUnavailable):
    """The server of STT_REDIS_URL is a replica, which refuses all writes."""


class WriteUnconfirmed(LedgerUnavailable):
    """Too few replicas have confirmed a durable script. `answers`: its answers; the primary has made its writes."""

    def __init__(self, message: str, answers: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.answers = answers


class ScriptRunner(Protocol):
    """Runs the Lua scripts of the ledger. Implemented by `RedisConnection` and by stand-ins in tests."""

    async def script(self, name: str, keys: Sequence[str], args: Sequence[str | int | float]) -> Any: ...


class RedisConnection:
    """A pool of connections to the address of STT_REDIS_URL. It belongs to the event loop of its first command.

    All methods raise SettingsError if the server is of an unsupported kind (see `server_check`)."""

    def __init__(
        self, url: str, *, retries: int | None = None, replicas: int = 0, limit_s: float = CALL_LIMIT_S
    ) -> None:
        """`url`: a value of STT_REDIS_URL. `retries`: retries of a command; None: the usual number. `replicas`: number
        of replicas that must confirm each durable script. `limit_s`: maximum seconds of a call with all its retries.
        Raises SettingsError."""
        try:
            address = parse_redis_url(url)
        except ValueError as exc:
            raise SettingsError(f"STT_REDIS_URL: {exc}") from None
        self.address = address.shown
        # A server without TLS takes the first bytes of TLS for an incomplete command, and waits for the rest.
        self._tls_hint = ", without TLS if the server has none" if address.tls else ""
        self._pool = make_pool(address, retries)
        self._redis: Redis = Redis(connection_pool=self._pool)
        self._replicas, self._limit_s = replicas, limit_s
        self._loaded: set[str] = set()
        # `AsyncScript` sends the script again if Redis has lost it (NOSCRIPT), for example after a restart.
        self._scripts: dict[str, AsyncScript] = {}

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Limit the time of a call, translate its errors, and raise CancelledError if the task was cancelled during the
        call.

        redis-py 8.1 can lose a cancellation, and the command then returns as usual. This happens if the cancellation
        arrives while redis-py connects, or after the answer has arrived but before redis-py reads the answer. So this
        context also compares the task's cancellation count before and after the command: if it has risen, the task was
        cancelled.
        """
        task = asyncio.current_task()
        before, most_s = task.cancelling() if task is not None else 0, limit_s(self._limit_s)
        try:
            async with enforced_limit(most_s):
                try:
                    with self._our_errors():
                        yield
                except asyncio.CancelledError:
                    if task is not None and task.cancelling() > before:
                        raise
                    # Another task, which waited for the same connection to close, was cancelled, and with it the future
                    # of this task. A task group would treat this task as finished and lose the rest of its work.
                    raise LedgerUnavailable(
                        f"Redis at {self.address} did not answer: the connection was closed during a command"
                    ) from None
                finally:
                    # Without this, a job that was cancelled would start its next step as if nothing had happened.
                    if task is not None and task.cancelling() > before:
                        raise asyncio.CancelledError
        except builtins.TimeoutError as exc:
            raise LedgerUnavailable(
                f"Redis at {self.address} does not answer within {most_s:g} s; it hangs or is overloaded: "
                f"restart it, or set STT_REDIS_URL to the right address{self._tls_hint}"
            ) from exc

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        """Translate the exceptions of redis-py to LedgerUnavailable (temporary) or LedgerRefused (permanent)."""
        try:
            yield
        except NoPermissionError as exc:
            raise LedgerRefused(
                f"Redis at {self.address} refuses a command of this user ({exc}); grant the user of STT_REDIS_URL the "
                "rights that docs/guides/produce-jobs.md shows for `worker`"
            ) from exc
        except UnsupportedServer as exc:
            raise SettingsError(f"STT_REDIS_URL: {exc} (it is {self.address})") from exc
        except (MovedError, AskError, ClusterCrossSlotError) as exc:
            # A proxy before a Redis Cluster hides its mode, but not these refusals.
            raise SettingsError(f"STT_REDIS_URL: {CLUSTER_UNSUPPORTED} (it is {self.address})") from exc
        except (AuthenticationError, AuthorizationError) as exc:
            raise LedgerUnavailable(f"Redis at {self.address} refuses the login; check STT_REDIS_URL ({exc})") from exc
        except (ConnectionError, TimeoutError, OSError) as exc:
            if (reason := client_limit_reason(exc)) is not None:
                raise LedgerUnavailable(f"Redis at {self.address} {reason}") from exc
            raise LedgerUnavailable(
                f"Redis at {self.address} does not answer ({str(exc) or type(exc).__name__}); "
                "start it, or set STT_REDIS_URL to the right address"
            ) from exc
        except RedisError as exc:
            if _NO_DATABASE in str(exc):
                raise SettingsError(
                    f"STT_REDIS_URL: {self.address} names a database that the server does not have; use a lower "
                    "number, or raise `databases` in the configuration of Redis"
                ) from exc
            if (reason := replica_reason(exc)) is not None:
                raise ReadOnlyReplica(f"Redis at {self.address} {reason}") from exc
            if is_permanent(exc):
                remedy = "another program may have written to a key below STT_REDIS_PREFIX"
                if "WRONGTYPE" not in str(exc):
                    remedy = "check the version and the configuration of Redis"
                raise LedgerRefused(f"Redis at {self.address} permanently refuses a command: {exc}; {remedy}") from exc
            raise LedgerUnavailable(f"Redis at {self.address} refused a command: {exc}") from exc

    async def script(
        self, name: str, keys: Sequence[str], args: Sequence[str | int | float], *, durable: bool = False
    ) -> Any:
        """Run a script of the folder `lua/`. Returns the answer as Redis sends it: int, str or list.

        `durable`: wait until the replicas have confirmed it, see `_confirmed`."""
        if durable and self._replicas:
            return (await self._confirmed(name, [(keys, args)]))[0]
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._redis.register_script(script_text(name))
        async with self._translated():
            return await script(keys=keys, args=args)

    async def script_many(
        self,
        name: str,
        calls: Sequence[tuple[Sequence[str], Sequence[str | int | float]]],
        *,
        durable: bool = False,
    ) -> list[Any]:
        """Run a script once for each (keys, args) in one round trip, and return the answers in order.

        Pass at most some hundred calls, because Redis may serve other clients only after the last call. `durable`: wait
        until the replicas have confirmed all of them, see `_confirmed`."""
        if durable and self._replicas:
            return await self._confirmed(name, calls)
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

    async def _confirmed(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[str | int | float]]]
    ) -> list[Any]:
        """Run a script as `script_many` does, and wait until enough replicas have confirmed its writes.

        The script is repeated until they have, because a failover may lose the first write. Raises WriteUnconfirmed
        after REPLICAS_TIMEOUT_S."""
        text, confirmed = script_text(name), 0
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REPLICAS_TIMEOUT_S
        while True:
            load = name not in self._loaded

            def queue(pipeline: Any, load: bool = load) -> None:
                if load:
                    pipeline.script_load(text)
                for keys, args in calls:
                    pipeline.evalsha(sha, len(keys), *keys, *args)
                # WAIT counts the replicas that have the earlier writes of the same connection.
                pipeline.wait(self._replicas, WAIT_MS)

            try:
                *answers, confirmed = await self.pipeline(queue)
            except LedgerUnavailable as exc:
                if load or not isinstance(exc.__cause__, NoScriptError):
                    raise
                self._loaded.discard(name)  # a new primary does not know the script
                continue
            self._loaded.add(name)
            answers = answers[int(load) :]
            if confirmed >= self._replicas:
                return answers
            if confirmed == 0:
                # The replicas may have left this server for another primary. A new connection asks the Sentinels.
                async with self._translated():
                    await self._pool.disconnect(inuse_connections=False)
            if loop.time() > deadline:
                raise WriteUnconfirmed(
                    f"only {confirmed} of {self._replicas} replicas of Redis at {self.address} have confirmed a write "
                    f"within {REPLICAS_TIMEOUT_S:g} s; start the missing ones, or lower STT_REDIS_REPLICAS",
                    answers,
                )

    async def call(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        """Run one command, for example `await connection.call(lambda redis: redis.get(key))`."""
        async with self._translated():
            return await command(self._redis)

    async def pipeline(self, queue: Callable[[Any], object], *, each: bool = False) -> list[Any]:
        """Call `queue` with a pipeline, and run the commands that it adds to the pipeline in one round trip.

        Returns the answers in the order of the commands. The commands are not a transaction. A refused command raises
        its error. With `each`, the error of a permanently refused command is not raised but returned, at the position
        of the answer."""
        async with self._translated(), self._redis.pipeline(transaction=False) as pipeline:
            queue(pipeline)
            answers = list(await pipeline.execute(raise_on_error=not each))
            # A temporary refusal of one command (memory full, read-only replica) concerns all commands. It is raised,
            # so that the caller repeats the whole pipeline.
            for answer in answers:
                if isinstance(answer, Exception) and not is_permanent(answer):
                    raise answer
            return answers

    async def check_primary(self) -> None:
        """Raise ReadOnlyReplica if the server is a replica. Reads still work on a replica, so they do not show this."""
        try:
            (answer,) = await self.pipeline(lambda pipeline: pipeline.execute_command("HELLO"))
        except LedgerRefused:
            return  # servers before Redis 6 do not know the command
        if hello_facts(answer).get("role", "master") != "master":
            raise ReadOnlyReplica(f"Redis at {self.address} {IS_REPLICA}")

    async def check_writable(self, sorted_set: str) -> None:
        """Raise LedgerUnavailable if Redis refuses writes: it is a replica, its memory or disk is full, or the user of
        STT_REDIS_URL has no permission. `sorted_set`: any key for a sorted set; it is not changed."""
        await self.check_primary()
        # With XX this adds nothing to the key, but Redis applies all checks of a write.
        await self.call(lambda redis: redis.zadd(sorted_set, {"": 0}, xx=True))

    async def close(self) -> None:
        """Close all connections."""
        async with self._translated():
            await self._redis.aclose()
            await close_pool(self._pool)
