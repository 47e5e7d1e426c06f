"""Stores profiles of services: in Redis for the workers of a fleet, in a file for `stt-batch run` on this machine."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

from worker.atomic_file import replace_file
from worker.errors import LedgerUnavailable
from worker.service_profile import LIFETIME_S, ServiceProfile, apply_profile, profile_id, read_profile
from worker.settings import Settings

REDIS_TIMEOUT_S: Final = 3.0
MAX_FILE_BYTES: Final = 100_000


def profile_file(settings: Settings) -> Path:
    """Return the file of the profile for the service and key of `settings`."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return folder / "stt-batch" / "profiles" / f"{profile_id(settings)}.json"


async def store_profile(settings: Settings, profile: ServiceProfile) -> list[str]:
    """Store the profile in Redis and in the file. Returns one text for each of the two places: where the profile is
    stored, or why it could not be stored."""
    text = profile.model_dump_json()
    try:
        async with asyncio.timeout(REDIS_TIMEOUT_S):
            await _redis(settings, lambda redis, key: redis.set(key, text, ex=LIFETIME_S))
        places = ["in Redis, for workers"]
    except (LedgerUnavailable, TimeoutError) as exc:
        places = [f"not in Redis ({exc or 'no answer'})"]
    try:
        path = profile_file(settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, [text.encode()])
        places.append(f"in {path}, for `run`")
    except (OSError, RuntimeError) as exc:  # RuntimeError: there is no home folder
        places.append(f"not in a file for `run` ({exc})")
    return places


def with_profile_of_file(settings: Settings) -> tuple[Settings, dict[str, Any]]:
    """Return the settings with the profile of the file, and the applied values."""
    try:
        with profile_file(settings).open("rb") as file:
            text = file.read(MAX_FILE_BYTES)
    except (FileNotFoundError, RuntimeError):  # RuntimeError: there is no home folder
        return settings, {}
    except OSError as exc:
        import structlog  # noqa: PLC0415  0.1 s of CPU time, and seldom needed

        structlog.get_logger(__name__).warning(
            "the profile of the service cannot be read; defaults are used", error=str(exc)
        )
        return settings, {}
    return apply_profile(settings, read_profile(text, time.time()))


async def with_profile_of_redis(settings: Settings) -> tuple[Settings, dict[str, Any]]:
    """Return the settings with the profile in Redis, and the applied values. If Redis does not answer, the settings are
    returned unchanged, because a worker waits for Redis later."""
    try:
        async with asyncio.timeout(REDIS_TIMEOUT_S):
            text = await _redis(settings, lambda redis, key: redis.get(key))
    except (LedgerUnavailable, TimeoutError):
        return settings, {}
    return apply_profile(settings, read_profile(text, time.time()))


async def _redis(settings: Settings, command: Any) -> Any:
    # Imported here, because a run only reads the file. The client of Redis takes a third of the import time of a run
    # that has nothing to do.
    from worker.ledger.connection import RedisConnection  # noqa: PLC0415
    from worker.ledger.keys import Keys  # noqa: PLC0415

    connection = RedisConnection(settings.redis_url)
    try:
        key = Keys(settings.redis_prefix)[f"profile:{profile_id(settings)}"]
        return await connection.call(lambda redis: command(redis, key))
    finally:
        await connection.close()
