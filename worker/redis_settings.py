"""The settings of Redis and of the queue, a part of `worker.settings.Settings`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from worker.redis_url import check_redis_url


class RedisSettings(BaseModel):
    redis_url: Annotated[str, AfterValidator(check_redis_url)] = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis or Valkey with the queue, the ledger and the transcripts: `redis://user:password@host:port/db`,"
        " `rediss://` (TLS), `unix:///path?db=0`, or `sentinel://host:port,host:port/NAME/db`",
    )
    redis_prefix: str = Field(
        "stt:", min_length=1, description="Prefix of all keys in Redis; fleets with different prefixes share no jobs"
    )
    redis_replicas: int = Field(
        0,
        ge=0,
        le=16,
        description="Replicas of Redis that must confirm a new, acquired, committed or ended job; 0: none",
    )
    queue: str = Field("stt", min_length=1, description="Celery queue of the jobs, below STT_REDIS_PREFIX")
    queue_max: int = Field(
        100_000,
        ge=1,
        le=1_000_000_000,
        description="Maximum of waiting jobs, and of entries in the intake; more are refused with `queue_full`",
    )


__all__ = ["RedisSettings"]
