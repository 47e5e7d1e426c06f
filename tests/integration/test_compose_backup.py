"""The services `backup` and `restore` of docker-compose.yml, as processes with a real Valkey and its own tools."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.compose_run import LocalCompose, Running
from tests.support.wait import wait_until


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalCompose]:
    made = LocalCompose(tmp_path, {"BACKUP_INTERVAL_S": "1", "BACKUP_COUNT": "3"})
    yield made
    made.close()


def client(stack: LocalCompose) -> redis.Redis:
    password = stack.secret("valkey", "password")
    return redis.Redis(port=stack.ports["valkey"], password=password, decode_responses=True)


def copies(stack: LocalCompose) -> list[Path]:
    return sorted((stack.folder / "backups").glob("valkey-*.rdb"))


def run(stack: LocalCompose, name: str, *arguments: str) -> Running:
    """Run a service until it ends, as `docker compose run` does."""
    made = stack.start(name, *arguments)
    made.process.wait(60)
    return made


def test_a_restore_moves_the_later_data_to_another_folder(stack: LocalCompose) -> None:
    (valkey,) = stack.up("valkey")
    with client(stack) as raw:
        raw.xadd("stt:job:a:commits", {"segment": "before"})
        assert run(stack, "backup", "once").process.returncode == 0
        raw.set("stt:job:b", "after")
        (copy,) = copies(stack)
        assert copy.stat().st_mode & 0o077 == 0, "it contains transcripts"
        refused = run(stack, "restore", "latest")
        assert (refused.process.returncode, "docker compose stop" in refused.text()) == (1, True)
        assert raw.get("stt:job:b") == "after"
    valkey.stop()
    data = stack.folder / "volumes" / "valkey"

    unknown = run(stack, "restore", "valkey-1.rdb")
    assert unknown.process.returncode == 1
    assert copy.name in unknown.text(), "it names the existing copies"
    torn = copy.with_name("valkey-00000000T000000Z.rdb")
    torn.write_bytes(copy.read_bytes()[:-9])
    damaged = run(stack, "restore", torn.name)
    assert (damaged.process.returncode, "is damaged" in damaged.text()) == (1, True)
    assert not list(data.glob("replaced-*")), "a refused copy changes nothing"

    done = run(stack, "restore", "latest")
    assert done.process.returncode == 0, done.text()
    valkey = stack.start("valkey")
    valkey.until_healthy()
    with client(stack) as raw:
        assert raw.keys() == ["stt:job:a:commits"]
        raw.set("stt:job:c", "new")
    valkey.stop()
    stack.start("valkey").until_healthy()  # the append-only file continues after the copy
    with client(stack) as raw:
        assert sorted(raw.keys()) == ["stt:job:a:commits", "stt:job:c"]
    (replaced,) = data.glob("replaced-*")
    assert list(replaced.rglob("*.aof")), "the replaced data are not lost"
    assert f"restore -r {replaced}" in done.text()


def test_copies_are_made_at_intervals_and_the_oldest_are_removed(stack: LocalCompose) -> None:
    valkey, backup = stack.up("valkey", "backup")  # healthy: the first copy exists
    seen: set[Path] = set()

    def enough() -> bool:
        seen.update(copies(stack))
        return len(seen) >= 5

    wait_until(enough, "five copies were made", timeout_s=30)
    wait_until(lambda: copies(stack) == sorted(seen)[-3:], "only the newest three are stored", timeout_s=10)
    valkey.stop()
    wait_until(lambda: "backup failed: Valkey cannot be copied" in backup.text(), "a failure is logged", timeout_s=30)
    assert len(copies(stack)) == 3, "a failure removes no copy"
    assert backup.stop() == 0
    assert stack.secret("valkey", "password") not in backup.text()


@pytest.mark.parametrize(
    ("name", "value"), [("BACKUP_COUNT", "0"), ("BACKUP_INTERVAL_S", "1h"), ("BACKUP_COUNT", "-1")]
)
def test_a_wrong_number_is_refused(tmp_path: Path, name: str, value: str) -> None:
    stack = LocalCompose(tmp_path, {name: value})
    try:
        refused = run(stack, "backup")
        assert refused.process.returncode == 1
        assert f"{name}: must be a whole number" in refused.text()
    finally:
        stack.close()


def test_the_health_check_fails_without_a_recent_copy(stack: LocalCompose) -> None:
    made = stack.start("backup", "check")
    assert made.process.wait(20) == 1
    old = stack.folder / "backups" / "valkey-20260101T000000Z.rdb"
    old.touch()
    assert subprocess.run(made.check, env=made.environ, check=False, timeout=20).returncode == 0
    subprocess.run(["touch", "-d", "2 hours ago", old], check=True, timeout=20)
    assert subprocess.run(made.check, env=made.environ, check=False, timeout=20).returncode == 1
