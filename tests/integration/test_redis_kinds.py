"""Servers that this program cannot use are refused in one sentence by every command: a cluster, and a Sentinel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from tasks import submit
from tasks.cli import main
from tests.support.redis_server import redis_server
from tests.support.redis_topologies import Server, cluster_of_one_shard
from tests.support.stand_in_workers import StandInWorkers
from worker.errors import LedgerUnavailable, SettingsError
from worker.ledger.connection import RedisConnection
from worker.ledger.ledger import Ledger
from worker.settings import load

KINDS = {"cluster": "Redis Cluster is not supported", "sentinel": "a Sentinel is not a Redis server: use sentinel://"}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """URLs of a Redis Cluster of one shard and of a Sentinel."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "sentinel.conf").write_text("")
    sentinel = Server(folder, sentinel=True)
    try:
        with cluster_of_one_shard(folder) as cluster:
            yield {"cluster": cluster.url, "sentinel": sentinel.url}
    finally:
        sentinel.kill()


@pytest.mark.parametrize("query", ["", "?protocol=2", "?db=3"])
@pytest.mark.parametrize("kind", KINDS)
async def test_producers_are_refused(urls: dict[str, str], kind: str, query: str) -> None:
    ledger = Ledger(load({}, redis_url=urls[kind].removesuffix("/0") + query))
    with pytest.raises(SettingsError, match=KINDS[kind]):
        await ledger.create("a", "{}")
    await ledger.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_is_refused(urls: dict[str, str], kind: str, tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(b"")
    environ = {"STT_REDIS_URL": urls[kind], "STT_URL": "http://127.0.0.1:1", "STT_API_KEY": "key"}
    lines = ["status", "list", "cancel x", "retry x", "pause x", "resume --key", "webhooks list", "intake", "worker"]
    lines += [f"submit {source}", f"watch {tmp_path} --out {tmp_path}", f"export x --out {tmp_path}"]
    for command in map(str.split, lines):
        ran = CliRunner().invoke(main, command, env=environ)
        assert ran.exit_code == 2, (command, ran.output)
        assert ran.stderr.count("\n") == 1, (command, ran.stderr)
        assert KINDS[kind] in ran.stderr, command
    ran = CliRunner().invoke(main, ["doctor", "--json"], env=environ)
    found = [one["text"] for one in json.loads(ran.stdout)["findings"] if one["part"] == "redis"]
    assert len(found) == 1
    assert KINDS[kind] in found[0]
    with pytest.raises(SettingsError, match=KINDS[kind]):
        submit(source, settings=load(environ))


def test_a_worker_of_celery_ends_with_the_reason(urls: dict[str, str], tmp_path: Path) -> None:
    workers = StandInWorkers(tmp_path, urls["cluster"])
    try:
        assert workers.start().wait(60) == 1
        assert KINDS["cluster"] in workers.text()
        assert "Traceback" not in workers.text()
    finally:
        workers.close()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """URLs of a server with a password, and of its read-only replica."""
    folder = tmp_path_factory.mktemp("secured")
    primary = Server(folder / "primary", "--save", "", "--requirepass", "word")
    link = ("--replicaof", f"127.0.0.1 {primary.port}", "--masterauth", "word")
    replica = Server(folder / "replica", "--save", "", *link)
    yield {"primary": primary.url, "replica": replica.url}
    primary.kill()
    replica.kill()


@pytest.mark.parametrize("protocol", ["2", "3"])
@pytest.mark.parametrize(
    ("login", "place", "error", "text"),
    [
        ("", "primary", LedgerUnavailable, "refuses the login; check STT_REDIS_URL"),
        (":wrong@", "primary", LedgerUnavailable, "refuses the login; check STT_REDIS_URL"),
        ("nobody:word@", "primary", LedgerUnavailable, "refuses the login; check STT_REDIS_URL"),
        (":word@", "primary/99", SettingsError, "a database that the server does not have; use a lower number"),
        ("", "replica", LedgerUnavailable, r"is a read-only replica; set STT_REDIS_URL to its primary, or to .*://"),
    ],
)
async def test_a_wrong_address_is_named_with_its_remedy(
    secured: dict[str, str], protocol: str, login: str, place: str, error: type[Exception], text: str
) -> None:
    name, _, database = place.partition("/")
    url = secured[name].replace("//", f"//{login}").removesuffix("0") + (database or "0")
    connection = RedisConnection(f"{url}?protocol={protocol}", retries=0)
    with pytest.raises(error, match=text):
        await connection.call(lambda redis: redis.set("a", 1, ex=9))
    with pytest.raises(error, match=text):
        await connection.pipeline(lambda pipeline: pipeline.set("a", 1, ex=9))
    await connection.close()


async def test_a_timeout_over_tls_suggests_an_address_without_tls(redis_url: str) -> None:
    connection = RedisConnection(redis_url.replace("redis:", "rediss:"), retries=0, limit_s=0.2)
    with pytest.raises(LedgerUnavailable, match="without TLS if the server has none"):
        await connection.call(lambda redis: redis.ping())
    await connection.close()


async def test_a_server_that_is_no_sentinel_is_named(redis_url: str) -> None:
    port = redis_url.removesuffix("/0").rsplit(":", 1)[1]
    ledger = Ledger(load({}, redis_url=f"sentinel://127.0.0.1:{port}/main"))
    with pytest.raises(SettingsError, match=f"127.0.0.1:{port} is not a Sentinel: use redis://"):
        await ledger.ping()
    await ledger.close()


async def test_the_limit_of_clients_is_named() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as raw:
        raw.config_set("maxclients", 1)
        ledger = Ledger(load({}, redis_url=url))
        with pytest.raises(LedgerUnavailable, match="its limit `maxclients` is reached; raise it"):
            await ledger.ping()
        await ledger.close()


@pytest.mark.parametrize("protocol", ["2", "3"])
async def test_the_ledger_works_with_both_protocols(redis_url: str, protocol: str) -> None:
    ledger = Ledger(load({}, redis_url=f"{redis_url}?protocol={protocol}&client_name=check-{protocol}"))
    await ledger.create("a", '{"source": "/a.wav"}', batch="b")
    record = await ledger.get("a")
    assert record is not None
    assert (record.state, await ledger.recent_jobs(), await ledger.batch("b")) == ("queued", ["a"], ["a"])
    with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
        named = [one for one in raw.client_list() if one["name"] == f"check-{protocol}"]
    assert {one["resp"] for one in named} == {protocol}
    await ledger.close()
