"""Two fleets with different STT_REDIS_PREFIX on one Redis share no jobs, no messages and no remote control."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tasks import submit
from tasks.app import make_app
from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import wait_until
from worker.settings import Settings, load

ODD = "team[1].%s*{x}:"
"""A prefix with all characters that are special in patterns and templates."""
STOCK = """
import sys
from celery import Celery
app = Celery("shop", broker=sys.argv[1])
app.conf.broker_transport_options = {"global_keyprefix": sys.argv[2]}
app.send_task("tasks.transcribe", args=[{"source": sys.argv[3]}], queue="stt", ignore_result=True)
"""


@pytest.fixture
def workers(tmp_path: Path, redis_url: str) -> Iterator[StandInWorkers]:
    workers = StandInWorkers(tmp_path, redis_url)
    yield workers
    workers.close()


@pytest.fixture
def audio(tmp_path: Path) -> Callable[[str], str]:
    def make(name: str) -> str:
        (tmp_path / name).write_bytes(name.encode())
        return str(tmp_path / name)

    return make


def test_fleets_with_different_prefixes_share_nothing(
    workers: StandInWorkers, redis_url: str, raw: redis.Redis, audio: Callable[[str], str]
) -> None:
    ours, theirs = (load({}, redis_url=redis_url, redis_prefix=prefix) for prefix in (ODD, "other:"))
    control = {"STT_CELERY_REMOTE_CONTROL": "1"}
    workers.start(STT_REDIS_PREFIX="other:", **control)
    first = submit(audio("ok-1.wav"), settings=theirs)
    wait_until(lambda: first.status().state == "done", "the other fleet works", timeout_s=60)

    handle = submit(audio("ok-2.wav"), settings=ours)
    make_app(ours).send_task("tasks.transcribe", args=[{"source": audio("ok-3.wav")}], queue="stt")
    stock = [sys.executable, "-c", STOCK, redis_url, f"{ODD}celery:", audio("ok-4.wav")]
    subprocess.run(stock, check=True, timeout=120)
    after = submit(audio("ok-5.wav"), settings=theirs)
    wait_until(lambda: after.status().state == "done", "the other fleet still works", timeout_s=60)
    assert handle.status().state == "queued", "the message of another fleet is not taken"
    assert raw.llen(f"{ODD}celery:stt") == 3
    assert not raw.exists("other:dead-letters")

    workers.start(STT_REDIS_PREFIX=ODD, **control)
    done = [f"{ODD}job:{handle.id}"]

    def states() -> list[str | None]:
        literal = ODD.replace("[", "\\[").replace("*", "\\*")
        done[:] = [key for key in raw.scan_iter(f"{literal}job:*") if raw.type(key) == "hash"]
        return [raw.hget(key, "state") for key in done]

    wait_until(lambda: states() == ["done"] * 3, "our fleet does its jobs, one of them from stock Celery", timeout_s=60)
    assert {raw.hget(key, "last_owner").split(":")[1] for key in done} == {str(workers.started[1].pid)}
    for settings, name in ((theirs, "w0@test"), (ours, "w1@test")):
        assert list(pong(settings)) == [name], "the remote control reaches its own fleet only"
    assert [key for key in raw.scan_iter("*") if not key.startswith((ODD, "other:"))] == []
    wait_until(lambda: all(raw.ttl(key) != -1 for key in raw.scan_iter("*")), "a search of each fleet ends all keys")


def pong(settings: Settings) -> dict[str, object]:
    found: dict[str, object] = {}

    def ping() -> bool:
        found.update(make_app(settings).control.inspect(timeout=2).ping() or {})
        return bool(found)

    wait_until(ping, "a worker answers", timeout_s=40)
    return found


def test_messages_of_earlier_versions_are_taken_over(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Callable[[str], str]
) -> None:
    """A whole job is only in its message, which an earlier version wrote to the list without a prefix."""
    make_app(settings).send_task("tasks.transcribe", args=[{"source": audio("ok-1.wav")}], queue="stt")
    raw.rename("stt:celery:stt", "stt")
    raw.set("stt\x06\x163", "the key of another program")
    raw.delete("stt:celery:_kombu.binding.stt", "stt:celery:_kombu.binding_permanent.stt")
    workers.start()
    wait_until(lambda: [raw.hget(key, "state") for key in raw.scan_iter("stt:job:*[0-9a-f]")] == ["done"], "it ends")
    assert not raw.exists("stt")
    assert raw.get("stt\x06\x163") == "the key of another program"


async def test_only_the_default_prefix_takes_over_old_messages(redis_url: str, raw: redis.Redis) -> None:
    from worker.ledger.ledger import Ledger

    raw.rpush("stt", "a", "b")
    other = Ledger(load({}, redis_url=redis_url, redis_prefix="other:"))
    assert await other.old_messages.adopt("stt") == 0
    ledger = Ledger(load({}, redis_url=redis_url))
    raw.lpush("stt:celery:stt", "c")
    assert await ledger.old_messages.adopt("stt") == 2
    assert raw.lrange("stt:celery:stt", 0, -1) == ["a", "b", "c"], "the order of the messages stays"
    await other.close()
    await ledger.close()
