"""The circuit breaker of an API key, shared by all workers in Redis.

When the service refuses the key, a permission or the account, the breaker opens: no worker takes jobs or opens sessions
with the key. At growing intervals one worker gets the right to a probe, an ordinary job with one session. The first
success of a probe closes the breaker; a refusal lengthens the interval. At most MAX_HANDSHAKES_PER_HOUR handshakes are
made per hour. This number includes the handshakes that the service refused when the breaker opened.

| key                       | type | contains                                                    |
|---------------------------|------|-------------------------------------------------------------|
| `breaker:HASH`            | hash | the state, see `lua/key_breaker.lua`                        |
| `breaker:HASH:handshakes` | zset | the handshakes of the last hour                             |
| `breakers`                | zset | hashes of the paused keys, scored by the time of the pause  |
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Final

from worker.errors import AccessRefused
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.settings import Settings

MAX_HANDSHAKES_PER_HOUR: Final = 20
"""Maximum number of handshakes with a paused key in an hour, of all workers together."""
FIRST_PAUSE_S: Final = 60.0
"""Seconds from the first refusal to the first probe; doubled with each further refusal."""
UNUSED_PAUSE_S: Final = 5.0
"""Seconds until the next probe after one that opened no session, because its job could not be run."""
MAX_PAUSE_S: Final = 1200.0
"""Longest pause between two probes, in seconds. Each pause is up to a quarter shorter, by random."""
PROBE_S: Final = 900.0
"""Seconds after which a probe without a result counts as lost: longer than one session (STT_SESSION_MAX_S)."""
KEY_TTL_S: Final = 7 * 86400.0
"""Lifetime of the breaker's keys after their last use, in seconds."""
IN_USE_S: Final = 60.0
"""Seconds after a worker's last check until a paused key counts as unused. Workers check every few seconds."""
MAX_REASON: Final = 1000


@dataclass(frozen=True, slots=True)
class KeyState:
    """The state of a key. Times are seconds since 1970 on the Redis server's clock."""

    name: str
    """Hash of the key, as in the names of its keys in Redis."""
    paused: bool
    probe: bool = False
    """Whether the caller has the right to a probe."""
    code: str = ""
    reason: str = ""
    since_at: float = 0.0
    next_probe_at: float = 0.0
    failures: int = 0
    """Number of refusals in a row."""
    used_at: float = 0.0
    """Time of the last check by a worker with this key."""
    changed: bool = False
    """Whether the call has paused or resumed the key, or allowed a probe at once."""


class KeyBreaker:
    """The breaker of the key of the settings, or of the key with the hash `name`. Methods raise LedgerUnavailable."""

    def __init__(self, settings: Settings, connection: RedisConnection, name: str = "") -> None:
        self._connection = connection
        # Hashed, because the API key must not be stored in Redis or be recoverable from a key name.
        secret = settings.api_key.get_secret_value()
        self.name = name or hashlib.sha256(f"stt-batch breaker\n{secret}".encode()).hexdigest()[:16]
        keys = Keys(settings.redis_prefix)
        key = keys[f"breaker:{self.name}"]
        self._webhook = settings.alert_webhook
        self._keys = (key, f"{key}:handshakes", keys["breakers"])

    async def check(self, token: str = "") -> KeyState:
        """Return the state. With a `token`, the caller asks for the right to a probe."""
        return await self._step("check", token, int(PROBE_S * 1000), MAX_HANDSHAKES_PER_HOUR)

    async def read(self) -> KeyState:
        """Return the state for a person. Does not count as a use of the key."""
        return await self._step("read")

    async def refused(self, error: AccessRefused, token: str = "", *, jitter: float) -> KeyState:
        """Report a refusal, which pauses the key. `token`: the token of the probe, if a probe was refused. `jitter`: a
        random number from 0 to 1."""
        pauses = int(FIRST_PAUSE_S * 1000), int(MAX_PAUSE_S * 1000)
        return await self._step(
            "refused", token, token_hex(20), error.code, str(error)[:MAX_REASON], *pauses, jitter, self._webhook
        )

    async def succeeded(self, token: str) -> KeyState:
        """Report that the probe has succeeded, which resumes the key."""
        return await self._step("succeeded", token, token_hex(20), self._webhook)

    async def release(self, token: str, *, used: bool) -> KeyState:
        """Report that the probe ended without a result, for example because its source is missing. `used`: whether it
        opened a session."""
        return await self._step("release", token, int((FIRST_PAUSE_S if used else UNUSED_PAUSE_S) * 1000), int(used))

    async def force(self) -> KeyState:
        """Allow a probe at once, for example because the account has credit again."""
        return await self._step("force")

    async def _step(self, step: str, *args: str | float) -> KeyState:
        answer = await self._connection.script(
            "key_breaker", self._keys, (step, self.name, int(KEY_TTL_S * 1000), *args)
        )
        state, code, reason, since, next_ms, failures, changed, used = answer
        return KeyState(
            name=self.name,
            paused=state != "closed",
            probe=state == "probe",
            code=code,
            reason=reason,
            since_at=float(since or 0) / 1000,
            next_probe_at=float(next_ms or 0) / 1000,
            failures=int(failures or 0),
            used_at=float(used or 0) / 1000,
            changed=changed == 1,
        )


def paused_text(state: KeyState) -> str:
    """Return the description of a paused key for people. Times are those of this machine's time zone."""
    since, probe_at = (datetime.fromtimestamp(at).astimezone() for at in (state.since_at, state.next_probe_at))
    due = state.next_probe_at <= time.time()
    probe = "a probe is due" if due else f"next probe at {probe_at:%H:%M:%S}"
    return (
        f"the API key {state.name} is paused since {since:%Y-%m-%d %H:%M:%S}: {state.reason}; jobs stay queued,"
        f" {probe} ({state.failures} refused)"
    )


async def paused_keys(settings: Settings, connection: RedisConnection) -> list[KeyState]:
    """Return the paused keys of this Redis that stop jobs, the longest paused first. Raises LedgerUnavailable.

    A key that no worker uses any more, for example a replaced key, stops jobs only while jobs wait."""
    states = await _all_paused(settings, connection)
    if not states:
        return []
    _, *waiting = Keys(settings.redis_prefix).pending
    counts = await connection.pipeline(lambda pipeline: [pipeline.zcard(key) for key in waiting])
    seconds, _ = await connection.call(lambda redis: redis.time())
    return [state for state in states if any(counts) or int(seconds) - state.used_at < IN_USE_S]


async def resume_keys(settings: Settings, connection: RedisConnection) -> list[KeyState]:
    """Allow a probe of every paused key at once. Returns the keys. Raises LedgerUnavailable."""
    return [
        await KeyBreaker(settings, connection, state.name).force() for state in await paused_keys(settings, connection)
    ]


async def _all_paused(settings: Settings, connection: RedisConnection) -> list[KeyState]:
    index = Keys(settings.redis_prefix)["breakers"]
    names = await connection.call(lambda redis: redis.zrange(index, 0, -1))
    states = [await KeyBreaker(settings, connection, name).read() for name in names]
    return [state for state in states if state.paused]


__all__ = ["KeyBreaker", "KeyState", "paused_keys", "paused_text", "resume_keys"]
