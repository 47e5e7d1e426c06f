"""Checks Redis for the needs of a worker: version, durability, memory, speed, permissions, and the clock."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Mapping
from secrets import token_hex
from typing import Any, Final

from tasks.background.intake_producers import IntakeStreams
from tasks.batches.number_format import format_count
from tasks.doctor import service, workers
from tasks.doctor.finding import Finding, fail, ok, warn
from worker.errors import LedgerUnavailable
from worker.ledger import schema
from worker.ledger.connection import RedisConnection
from worker.ledger.dead_letters import KEY, DeadLetters, DeadLetterSummary
from worker.ledger.durability import durability_warnings
from worker.ledger.key_breaker import paused_keys, paused_text
from worker.ledger.keys import Keys
from worker.ledger.redis_releases import unpatched
from worker.redis_url import parse_redis_url
from worker.settings import Settings

MIN_VERSION: Final = (6, 2)
PINGS: Final = 30
SLOW_S: Final = 0.02
"""Maximum seconds of a round trip without a warning. A commit needs two or three of them, so slower answers delay text
noticeably."""
MAX_MEMORY_USE: Final = 0.8
"""Maximum used fraction of Redis's `maxmemory` without a warning."""
MAX_ID_AHEAD_S: Final = 315_360_000.0
"""The id of a stream entry begins with a time. If it is this many seconds ahead of the clock, a producer chose the id,
not Redis."""
CLOCK_WARN_S: Final = 2.0
CLOCK_FAIL_S: Final = 60.0
"""Seconds of difference between the clocks from which on the check fails: object stores and receivers of webhooks
refuse signed requests if clocks differ by minutes."""


async def check(settings: Settings) -> list[Finding]:
    connection = RedisConnection(settings.redis_url, retries=0)
    try:
        return await _check(settings, connection)
    except LedgerUnavailable as exc:
        return [fail("redis", str(exc))]
    finally:
        await connection.close()


async def _check(settings: Settings, connection: RedisConnection) -> list[Finding]:
    found = [*_transport(settings.redis_url), await _speed(connection), await _permissions(settings, connection)]
    try:
        info = dict(await connection.call(lambda redis: redis.info()))
    except LedgerUnavailable as exc:
        return [*found, warn("redis", f"its version and settings cannot be read: {exc}", "allow the command INFO")]
    found += [*of_info(info), *of_replicas(info, settings.redis_replicas)]
    found.append(of_schema(await schema.read(connection, Keys(settings.redis_prefix))))
    try:
        dead = DeadLetters(connection, Keys(settings.redis_prefix), settings.result_ttl)
        found += of_dead_letters(await dead.summary(), settings.redis_prefix)
    except LedgerUnavailable as exc:
        found.append(warn("queue", f"the dead letters cannot be read: {exc}"))
    try:
        for state in await paused_keys(settings, connection):
            found.append(warn("key", paused_text(state), "correct the reason, then `stt-batch resume --key`"))
    except LedgerUnavailable as exc:
        found.append(warn("key", f"the paused keys cannot be read: {exc}"))
    try:
        found += await workers.check(settings, connection)
    except LedgerUnavailable as exc:
        found.append(warn("workers", f"their entries cannot be read: {exc}"))
    try:
        found += of_streams(await _last_ids(connection, settings.redis_prefix), time.time())
    except LedgerUnavailable as exc:
        found.append(warn("intake", f"its streams cannot be read: {exc}"))
    seconds, micros = await connection.call(lambda redis: redis.time())
    return [*found, of_clock(time.time() - (int(seconds) + int(micros) / 1e6))]


def of_info(info: Mapping[str, Any]) -> list[Finding]:
    """Return findings from the answer to the Redis command INFO. No I/O."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "?")
    numbers = tuple(int(part) for part in re.findall(r"\d+", str(info.get("redis_version", "")))[:2])
    if numbers and numbers < MIN_VERSION:
        found = [fail("redis", f"{name} {version} is too old", "use Redis 6.2 or newer, or Valkey")]
    else:
        found = [ok("redis", f"{name} {version}")]
    if numbers >= MIN_VERSION and (holes := unpatched(info)) is not None:
        found.append(warn("redis", f"{holes[0]} has known vulnerabilities", f"update it, to {holes[1]} or newer"))
    lossy = durability_warnings(info)
    found += [warn("redis", text) for text in lossy] or [ok("redis", "append-only file, and nothing is evicted")]
    limit, used = int(info.get("maxmemory") or 0), int(info.get("used_memory") or 0)
    if limit and used > MAX_MEMORY_USE * limit:
        way = "raise maxmemory, or lower STT_RESULT_TTL"
        found.append(warn("redis", f"its memory is {used / limit:.0%} full ({used / 1e6:.0f} MB)", way))
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("rdb_last_bgsave_status", "ok") != "ok":
        found.append(fail("redis", "its last write to disk failed", "check its log and its disk"))
    return found


def of_replicas(info: Mapping[str, Any], needed: int) -> list[Finding]:
    """Check that enough replicas are connected. `needed`: STT_REDIS_REPLICAS. No I/O."""
    present = int(info.get("connected_slaves") or 0)
    connected = format_count(present, "connected replica")
    if present >= needed:
        return [ok("redis", f"{connected}, {needed} must confirm a write")] if needed else []
    text = f"{connected}, but STT_REDIS_REPLICAS requires {needed}: no job can be queued"
    return [fail("redis", text, "start the missing replicas, or lower STT_REDIS_REPLICAS")]


def of_schema(found: schema.Schema | None) -> Finding:
    """Check whether this program can read the schema version in Redis. No I/O."""
    if found is None:
        return ok("redis", f"contains no jobs yet; this version writes records of version {schema.VERSION}")
    if not found.readable:
        text = f"contains records of version {found.reader}, and this stt-batch reads records up to {schema.VERSION}"
        return fail("redis", text, "update stt-batch here: a worker of this version does not start")
    if found.version > schema.VERSION:
        text = f"a newer stt-batch also writes records there (version {found.version}, this one {schema.VERSION})"
        return warn("redis", text, "no job is lost; update the older workers soon")
    return ok("redis", f"contains records of version {found.version}")


def of_dead_letters(found: DeadLetterSummary, prefix: str) -> list[Finding]:
    """Return findings about messages that no worker could read. No I/O."""
    if not found.count:
        return []
    way = f"`redis-cli XREVRANGE {prefix}{KEY} + - COUNT 10` shows them: fix the program that sends them"
    were = f"{format_count(found.count, 'message')} {'was' if found.count == 1 else 'were'}"
    return [warn("queue", f"{were} refused; the last one: {found.last_reason}", way)]


async def _last_ids(connection: RedisConnection, prefix: str) -> dict[str, str]:
    """Return the last id of each stream of the intake, by the key of the stream."""
    keys = [stream.key for stream in await IntakeStreams(prefix, connection).known()]
    answers = await connection.pipeline(lambda pipeline: [pipeline.xinfo_stream(key) for key in keys], each=True)
    return {key: str(a["last-generated-id"]) for key, a in zip(keys, answers, strict=True) if isinstance(a, dict)}


def of_streams(last_ids: Mapping[str, str], now_s: float) -> list[Finding]:
    """Return a warning for each stream that accepts no new entries. This happens if a producer wrote an entry with a
    huge id, because the ids of a stream must rise. No I/O."""
    way = "give its producer a stream of its own (docs/guides/produce-jobs.md); workers reset this one when it is empty"
    ahead = [(key, last) for key, last in last_ids.items() if int(last.split("-")[0]) / 1000 > now_s + MAX_ID_AHEAD_S]
    return [warn("intake", f"the ids of {key} are used up: the last one is {last}", way) for key, last in ahead]


def of_clock(ahead_s: float) -> Finding:
    """Check the clock of this machine. `ahead_s`: how many seconds it is ahead of the clock of Redis. No I/O."""
    if abs(ahead_s) < CLOCK_WARN_S:
        return ok("clock", f"within {max(0.1, abs(ahead_s)):.1f} s of the clock of Redis")
    text = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the clock of Redis"
    way = "synchronize both with NTP; object stores and webhooks refuse signed requests at a difference of minutes"
    return fail("clock", text, way) if abs(ahead_s) >= CLOCK_FAIL_S else warn("clock", text, way)


def _transport(url: str) -> list[Finding]:
    address = parse_redis_url(url)
    if address.tls or all(
        service.is_local(f"redis://[{host}]" if ":" in host else f"redis://{host}") for host, _ in address.hosts
    ):
        return []
    if address.password:
        return [
            warn("redis", "its password is sent over the network unencrypted", "use rediss:// (TLS), or sentinels://")
        ]
    return [warn("redis", "it accepts commands without a password", "create a user (ACL), and use rediss:// (TLS)")]


async def _speed(connection: RedisConnection) -> Finding:
    took = []
    for _ in range(PINGS):
        started = time.perf_counter()
        await connection.call(lambda redis: redis.ping())
        took.append(time.perf_counter() - started)
    middle, worst = statistics.median(took), max(took)
    text = f"{connection.address} answers in {middle * 1000:.1f} ms (worst of {PINGS}: {worst * 1000:.1f} ms)"
    return warn("redis", text, "run it closer to the workers") if middle > SLOW_S else ok("redis", text)


async def _permissions(settings: Settings, connection: RedisConnection) -> Finding:
    """Check that the Redis user of the settings may write keys and streams and run scripts, as the ledger does."""
    key = f"{settings.redis_prefix}doctor:{token_hex(6)}"
    script = "redis.call('XADD', KEYS[1], '*', 'probe', ARGV[1]) redis.call('PEXPIRE', KEYS[1], 10000) return ARGV[1]"
    try:
        answer = await connection.call(lambda redis: redis.eval(script, 1, key, "1"))
        length = await connection.call(lambda redis: redis.xlen(key))
        await connection.call(lambda redis: redis.delete(key))
    except LedgerUnavailable as exc:
        way = "give its user the rights of `worker` in docs/guides/produce-jobs.md"
        return fail("redis", f"a key below {settings.redis_prefix} cannot be written: {exc}", way)
    if (answer, length) != ("1", 1):
        return fail("redis", "a written key cannot be read back", "set STT_REDIS_URL to the primary, not to a replica")
    return ok("redis", f"keys below {settings.redis_prefix} can be written, scripts run")
