"""Runs the producers of the documentation unchanged, except for address and file."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tasks.background.intake import start_intake
from tasks.event_loop import LoopThread
from tests.support import readme
from tests.support.forked_process import start_process
from tests.support.node_env import missing, node_modules
from tests.support.wait import wait_until
from worker.settings import load

__all__ = ["node_modules"]
ROOT = Path(__file__).parents[2]
TEXT = readme.text()
PRODUCER = "producer:a-long-password"
DEBIAN_GO = Path("/usr/share/gocode/src/github.com/gomodule/redigo")


def snippet(language: str, holding: str, **changes: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (code,) = [str(block) for block in found if holding in block]
    for old, new in changes.items():
        assert old in code, old
        code = code.replace(old, new)
    return code


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "ok-2.wav"
    path.write_bytes(b"audio")
    return str(path)


@pytest.fixture
def intake(redis_url: str) -> Iterator[None]:
    loop = LoopThread()
    work = start_intake(load({}, redis_url=redis_url), loop)
    yield
    work.cancel()
    wait_until(work.cancelled, "the intake ends")
    loop.stop()


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[None]:
    """Run a worker whose pipeline is a stand-in."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STT_")},
        **{"STT_REDIS_URL": redis_url, "STT_URL": "http://127.0.0.1:1", "STT_API_KEY": "key"},
    }
    process = start_process("tests.support.fake_worker", env=environment, log=tmp_path / "worker.log")
    yield
    process.kill()
    process.wait(10)


@pytest.fixture
def acl(raw: redis.Redis) -> Iterator[None]:
    """Create the user of the documentation with the documented command. This user may only XADD to the intake."""
    command = shlex.split(snippet("sh", "ACL SETUSER producer"))
    assert command[0] == "redis-cli"
    assert raw.execute_command(*command[1:]) == "OK"
    yield
    raw.execute_command("ACL", "DELUSER", "producer")


def reply(raw: redis.Redis, request: str) -> dict[str, str]:
    def find() -> dict[str, str] | None:
        return next((f for _, f in raw.xrange("stt:intake:replies") if f["request"] == request), None)

    found: dict[str, str] = wait_until(find, f"{request} is answered")
    return found


def at(redis_url: str, login: str = "") -> str:
    return redis_url.removesuffix("/0").replace("//", f"//{login}@" if login else "//")


def test_python(redis_url: str, source: str, worker: None, tmp_path: Path) -> None:
    code = snippet("python", "handle.commits()", **{"/audio/call.wav": source, "/results": str(tmp_path)})
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "STT_REDIS_URL": redis_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["0.0 word 0", "1.0 word 1", "done"]
    assert '"word 1"' in lines[3]


def test_the_shell(redis_url: str, raw: redis.Redis, source: str, intake: None, acl: None) -> None:
    command = shlex.split(
        snippet("sh", "redis-cli XADD stt:intake '*' job '{\"source\": \"/audio", **{"/audio/call.wav": source})
    )
    with redis.Redis.from_url(redis_url.replace("//", f"//{PRODUCER}@"), decode_responses=True) as producer:
        assert command[0] == "redis-cli"
        request = producer.execute_command(*command[1:])
    assert reply(raw, request)["state"] == "queued"


@pytest.mark.node
def test_node(redis_url: str, raw: redis.Redis, source: str, node_modules: Path, intake: None, acl: None) -> None:
    """Connects as the user that may only submit jobs."""
    changes = {"/audio/call.wav": source, "redis://127.0.0.1:6379": at(redis_url, PRODUCER)}
    (node_modules / "add.mjs").write_text(snippet("js", "xAdd", **changes))
    request = run("node", "add.mjs", cwd=node_modules).strip()
    assert reply(raw, request)["state"] == "queued"


@pytest.mark.node
def test_celery_node(redis_url: str, raw: redis.Redis, source: str, node_modules: Path, worker: None) -> None:
    changes = {"/audio/call.wav": source, "redis://127.0.0.1:6379/0": redis_url}
    (node_modules / "send.cjs").write_text(snippet("js", "celery-node", **changes))
    run("node", "send.cjs", cwd=node_modules)

    def states() -> list[str]:
        names = [name for name in raw.scan_iter("stt:job:*") if name.count(":") == 2]
        return [raw.hget(name, "state") for name in names]

    wait_until(lambda: states() == ["done"], "the job is done", timeout_s=30)


def test_go(redis_url: str, raw: redis.Redis, source: str, intake: None, acl: None, tmp_path: Path) -> None:
    """Uses the Go client redigo from Debian's package or, if that is not installed, from the Go module proxy."""
    if shutil.which("go") is None:
        missing("Go is not installed (Debian: golang-go, golang-github-gomodule-redigo-dev)")
    changes = {"redis://127.0.0.1:6379": at(redis_url, PRODUCER), "/audio/call.wav": source}
    (tmp_path / "main.go").write_text(snippet("go", "XADD", **changes))
    environ = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "GOFLAGS": ""}
    if DEBIAN_GO.exists():
        environ |= {"GO111MODULE": "off", "GOPATH": str(DEBIAN_GO.parents[3])}
    else:
        run("go", "mod", "init", "producer", cwd=tmp_path, env=environ)
        if subprocess.run(["go", "mod", "tidy"], cwd=tmp_path, env=environ, check=False, timeout=110).returncode:
            missing("redigo cannot be fetched (Debian: golang-github-gomodule-redigo-dev)")
    request = run("go", "run", ".", cwd=tmp_path, env=environ).strip()
    assert reply(raw, request)["state"] == "queued"


def test_the_producer_has_no_other_rights(redis_url: str, raw: redis.Redis, acl: None) -> None:
    with redis.Redis.from_url(redis_url.replace("//", f"//{PRODUCER}@"), decode_responses=True) as producer:
        assert producer.xadd("stt:intake", {"job": "{}"})
        forbidden: list[Callable[[], object]] = [
            lambda: producer.xadd("stt:events", {"event": "done"}),
            lambda: producer.lpush("stt", "poison"),
            lambda: producer.get("stt:job:x:transcript"),
            lambda: producer.hgetall("stt:job:x"),
            lambda: producer.xrange("stt:intake"),
            lambda: producer.xread({"stt:intake:replies": "0"}),
            lambda: producer.xdel("stt:intake", "0-1"),
            lambda: producer.delete("stt:intake"),
            lambda: producer.keys("*"),
            lambda: producer.eval("return 1", 0),
            producer.flushall,
            lambda: producer.config_get("*"),
            lambda: producer.execute_command("ACL", "LIST"),
            lambda: producer.publish("x", "y"),
        ]
        for attempt in forbidden:
            with pytest.raises(redis.exceptions.NoPermissionError):
                attempt()


def test_a_producer_may_get_the_right_to_read_the_answers(redis_url: str, raw: redis.Redis, acl: None) -> None:
    (selector,) = re.findall(r"`'(\(.*?\))'`", TEXT)
    raw.execute_command("ACL", "SETUSER", "producer", selector)
    raw.xadd("stt:intake:replies", {"request": "1-0", "job": "x"})
    with redis.Redis.from_url(redis_url.replace("//", f"//{PRODUCER}@"), decode_responses=True) as producer:
        assert producer.xread({"stt:intake:replies": "0"})
        with pytest.raises(redis.exceptions.NoPermissionError):
            producer.xread({"stt:intake": "0"})
        with pytest.raises(redis.exceptions.NoPermissionError):
            producer.xadd("stt:intake:replies", {"request": "2-0"})


def test_a_producer_may_have_a_stream_of_its_own(redis_url: str, raw: redis.Redis, source: str, intake: None) -> None:
    command = shlex.split(snippet("sh", "ACL SETUSER shop"))
    assert raw.execute_command(*command[1:]) == "OK"
    try:
        with redis.Redis.from_url(redis_url.replace("//", "//shop:a-long-password@"), decode_responses=True) as shop:
            request = shop.xadd("stt:intake:from:shop", {"job": json.dumps({"source": source})})
            for key in ("stt:intake", "stt:intake:from:other", "stt:intake:replies:shop", "stt"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    shop.xadd(key, {"job": "{}"})
            assert reply(raw, request) | {"state": "queued", "from": "shop"} == reply(raw, request)
            (_, answers), *_ = shop.xread({"stt:intake:replies:shop": "0"})
            assert [answer["request"] for _, answer in answers] == [request]
            for key in ("stt:intake:replies", "stt:intake", "stt:intake:replies:other"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    shop.xread({key: "0"})
    finally:
        raw.execute_command("ACL", "DELUSER", "shop")


def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
