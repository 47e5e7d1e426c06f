"""Real servers for the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis_server import redis_server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(shared_redis: str) -> str:
    """An empty Valkey; one server for all tests of the session."""
    import redis

    with redis.Redis.from_url(shared_redis) as client:
        client.flushall()
    return shared_redis
