"""Findings of `stt-batch doctor` from given facts (pure)."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from tasks import doctor
from tasks.doctor import redis, storage
from tasks.doctor.finding import Status
from worker.ledger.schema import READER, VERSION, Schema
from worker.settings import load

GOOD = {
    "redis_version": "7.2.15",
    "aof_enabled": 1,
    "maxmemory_policy": "noeviction",
    "maxmemory": 0,
    "used_memory": 10,
    "aof_last_write_status": "ok",
}


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({}, Status.OK, "Redis 7.2.15"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, Status.OK, "Valkey 9.1.2"),
        ({"redis_version": "6.2.23"}, Status.OK, "Redis 6.2.23"),
        ({"redis_version": "6.2.22"}, Status.WARN, "known vulnerabilities"),
        ({"redis_version": "6.0.16"}, Status.FAIL, "too old"),
        ({"redis_version": "5.0.7"}, Status.FAIL, "too old"),
        ({"aof_enabled": 0}, Status.WARN, "appendonly yes"),
        ({"maxmemory_policy": "allkeys-lru"}, Status.WARN, "noeviction"),
        ({"maxmemory": 100, "used_memory": 90}, Status.WARN, "90% full"),
        ({"aof_last_write_status": "err"}, Status.FAIL, "write to disk failed"),
    ],
)
def test_findings_from_redis_info(change: dict[str, Any], status: Status, says: str) -> None:
    found = redis.of_info(GOOD | change)
    (telling,) = [one for one in found if says in one.text]
    assert telling.status is status
    others = {one.status for one in found if "known vulnerabilities" not in one.text}
    assert others <= {Status.OK, status}


@pytest.mark.parametrize(
    ("ahead_s", "status", "says"),
    [
        (0.4, Status.OK, "0.4 s"),
        (-1.9, Status.OK, "1.9 s"),
        (5.0, Status.WARN, "5.0 s ahead"),
        (-600, Status.FAIL, "behind"),
    ],
)
def test_the_clock(ahead_s: float, status: Status, says: str) -> None:
    found = redis.of_clock(ahead_s)
    assert found.status is status
    assert says in found.text


@pytest.mark.parametrize(
    ("found", "status", "says"),
    [
        (None, Status.OK, "no jobs yet"),
        (Schema(VERSION, READER), Status.OK, f"version {VERSION}"),
        (Schema(VERSION + 1, READER), Status.WARN, "a newer stt-batch also writes records there"),
        (Schema(VERSION + 1, VERSION + 1), Status.FAIL, f"reads records up to {VERSION}"),
    ],
)
def test_the_schema_version_of_the_ledger(found: Schema | None, status: Status, says: str) -> None:
    finding = redis.of_schema(found)
    assert finding.status is status
    assert says in finding.text


@pytest.mark.parametrize(
    ("given", "environ", "status", "says"),
    [
        (
            {"url": "https://x.example", "api_key": "k"},
            {"STT_SESSION": "4"},
            Status.WARN,
            "STT_SESSION is not a setting",
        ),
        (
            {"url": "https://x.example", "api_key": "k"},
            {"STT_API_KEY_FILE": "/k"},
            Status.OK,
            "without STT_WEBHOOK_SECRET",
        ),
        ({}, {}, Status.FAIL, "no service is set"),
        ({"url": "https://x.example"}, {}, Status.FAIL, "no key for https://x.example"),
        ({"url": "http://x.example", "api_key": "k"}, {}, Status.WARN, "in clear text"),
        ({"webhook_secret": "short"}, {}, Status.FAIL, "less than 24 bytes"),
        ({"webhook_secret": "whsec_!!"}, {}, Status.FAIL, "not base64"),
        ({"webhook_secret": "x" * 24}, {}, Status.OK, "webhooks are signed"),
    ],
)
def test_the_settings(given: dict[str, Any], environ: dict[str, str], status: Status, says: str) -> None:
    found = doctor.of_settings(load({}, **given), environ)
    assert [one.status for one in found if says in one.text] == [status]


def test_a_service_on_this_machine_gets_no_clear_text_warning() -> None:
    found = doctor.of_settings(load({}, url="http://127.0.0.1:8808", api_key="k"), {})
    assert not any("in clear text" in one.text for one in found)


async def test_outputs_and_disk(tmp_path: Path) -> None:
    inside = load({}, allowed_outputs=str(tmp_path), temp_dir=str(tmp_path), downloads_max_gb=1e-6)
    (found,) = await storage.check_outputs(inside, ())
    assert found.status is Status.OK
    assert not list(tmp_path.iterdir()), "the probe is deleted"  # noqa: ASYNC240
    (tmp_path / "file").touch()
    places = ("/elsewhere", f"{tmp_path}/no/such", f"{tmp_path}/file/below")
    outside, missing, impossible, _ = await storage.check_outputs(inside, places)
    assert outside.status is impossible.status is Status.FAIL
    assert missing.status is Status.OK
    assert "does not exist, jobs will create it" in missing.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]  # noqa: ASYNC240
    assert "STT_ALLOWED_OUTPUTS" in outside.text
    (disk,) = await storage.check_disk(inside)
    assert disk.status is Status.OK
    (disk,) = await storage.check_disk(load({}, temp_dir=str(tmp_path), downloads_max_gb=1e9))
    assert disk.status is Status.WARN


async def test_an_output_without_space_is_reported_and_the_probe_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        write(self, b"")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    (tmp_path / "file").touch()
    (found,) = await storage.check_outputs(load({}), (str(tmp_path),))
    assert (found.status, found.remedy) == (Status.FAIL, "free some space there")
    assert not list(tmp_path.glob(".stt-doctor*"))  # noqa: ASYNC240
    monkeypatch.undo()
    (found,) = await storage.check_outputs(load({}), (str(tmp_path / "file"),))
    assert (found.status, found.remedy) == (Status.FAIL, "name a folder")


@pytest.mark.parametrize(
    ("present", "needed", "status"),
    [
        ("0", 0, None),
        ("2", 0, None),
        ("1", 1, Status.OK),
        ("2", 1, Status.OK),
        ("0", 1, Status.FAIL),
        ("1", 2, Status.FAIL),
    ],
)
def test_too_few_replicas_are_reported(present: str, needed: int, status: Status | None) -> None:
    found = redis.of_replicas({"connected_slaves": present}, needed)
    assert [one.status for one in found] == ([] if status is None else [status])
