"""Real servers and common fixtures for the integration tests. A test module may define its own fixture `settings`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import redis

from tasks.client.producer import Producer
from tests.support.fleet import Fleet, assert_every_key_ends, tone_server
from tests.support.redis_server import redis_server
from tests.support.s3_server import S3Server, shared_s3_server
from tests.support.stand_in_workers import StandInWorkers
from tests.support.tls_proxy import TestAuthority
from worker.ledger.ledger import Ledger
from worker.settings import Settings, load


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(shared_redis: str) -> str:
    """URL of an empty Valkey. All tests of the test run share the server."""
    with redis.Redis.from_url(shared_redis) as client:
        client.flushall()
    return shared_redis


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with one bucket. All tests of the test run share it, also those of other processes of pytest-xdist,
    so each test uses other names in it."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # the folder of one process, in the folder of the test run
        folder = folder.parent
    with shared_s3_server(folder) as server:
        yield server


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url)


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """A plain Redis client, with which tests act as another program."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    ledger = Ledger(settings)
    yield ledger
    await ledger.close()


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[Producer]:
    producer = Producer(settings)
    yield producer
    await producer.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the real-time service with an engine that recognizes tone-coded words."""
    with tone_server(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture
def fleet_settings() -> Mapping[str, str]:
    """Further settings for the workers of `fleet`. A module may override this fixture."""
    return {}


@pytest.fixture
def fleet(tmp_path: Path, redis_url: str, service: str, fleet_settings: Mapping[str, str]) -> Iterator[Fleet]:
    """Starts workers. At the end of the test it stops all, and asserts that each of their keys in Redis expires."""
    fleet = Fleet(tmp_path, redis_url, service, fleet_settings)
    yield fleet
    fleet.close()
    assert_every_key_ends(redis_url)


@pytest.fixture
def few_certificates(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust one unknown authority instead of those of the system, which take a tenth of a second to load."""
    folder = tmp_path_factory.getbasetemp() / "system"
    monkeypatch.setenv("SSL_CERT_FILE", str(TestAuthority(folder).ca_file))


@pytest.fixture
def workers(tmp_path: Path, redis_url: str) -> Iterator[StandInWorkers]:
    """Starts workers with a stand-in pipeline. At the end of the test it stops all, and asserts that each of their keys
    in Redis expires."""
    workers = StandInWorkers(tmp_path, redis_url)
    yield workers
    workers.close()
    assert_every_key_ends(redis_url)
