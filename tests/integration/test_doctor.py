"""`stt-batch doctor` with a real Valkey and our service, both working and broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from tasks.cli import main
from tests.support.audiofiles import write_words
from tests.support.fleet import KEY, tone_server
from tests.support.ports import free_port
from tests.support.redis_server import Valkey
from tests.support.s3_server import BUCKET, S3Server
from tests.support.tones import speech
from worker.storage import object_store


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return write_words(tmp_path / "sample.wav", list(speech(3.0, seed=1)), 16000)


def examine(environ: Mapping[str, str], *options: str) -> tuple[int, list[dict[str, str]]]:
    result = CliRunner().invoke(main, ["doctor", "--json", *options], env=dict(environ))
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["ok"] == (result.exit_code == 0)
    return result.exit_code, document["findings"]


def of(findings: list[dict[str, str]], part: str) -> list[str]:
    return [one["status"] for one in findings if one["part"] == part]


def test_a_working_deployment_has_no_failed_check(service: str, tmp_path: Path, sample: Path) -> None:
    valkey = Valkey(tmp_path)
    environ = {"STT_URL": service, "STT_API_KEY": KEY, "STT_REDIS_URL": valkey.url, "STT_ALLOWED_SOURCES": "/audio"}
    try:
        status, findings = examine(environ, "--sample", str(sample), "--out", str(tmp_path))
        assert status == 0
        assert {one["status"] for one in findings if one["part"] not in ("disk", "workers")} == {"ok"}, findings
        said = " ".join(one["text"] for one in findings)
        assert "no worker is alive" in said
        assert "sample transcribed in" in said
        assert "append-only file, and nothing is evicted" in said
        with redis.Redis.from_url(valkey.url) as raw:
            assert raw.dbsize() == 0, "no probe is left"
    finally:
        valkey.kill()


def test_every_broken_part_is_reported(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        "STT_URL": f"http://127.0.0.1:{port}",
        "STT_API_KEY": "secret-key",
        "STT_REDIS_URL": f"redis://:pass-word@127.0.0.1:{port}/0",
        "STT_WEBHOOK_SECRET": "too-short",
        "STT_TEMP_DIR": "/proc/nowhere",
    }
    status, findings = examine(environ, "--out", "/proc/missing")
    assert status == 1
    assert (
        of(findings, "redis") == of(findings, "service") == of(findings, "outputs") == of(findings, "disk") == ["fail"]
    )
    said = json.dumps(findings)
    assert not any(secret in said for secret in ("secret-key", "pass-word", "too-short"))


def test_a_wrong_key_and_a_redis_without_durability_are_reported(service: str, redis_url: str, sample: Path) -> None:
    environ = {"STT_URL": service, "STT_API_KEY": "wrong", "STT_REDIS_URL": redis_url}
    status, findings = examine(environ, "--sample", str(sample))
    assert status == 1
    assert of(findings, "service") == ["fail"]
    assert "STT_API_KEY" in next(one for one in findings if one["part"] == "service")["remedy"]
    assert "warn" in of(findings, "redis"), "no append-only file"


def test_a_service_that_breaks_sessions(tmp_path: Path, redis_url: str, sample: Path) -> None:
    with tone_server(tmp_path, "drop=1") as url:
        environ = {"STT_URL": url, "STT_API_KEY": KEY, "STT_REDIS_URL": redis_url}
        status, findings = examine(environ, "--sample", str(sample))
    assert status == 1
    assert of(findings, "service") == ["ok", "fail"]


def test_an_object_store(
    service: str, redis_url: str, sample: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    object_store._store_of.cache_clear()
    environ = {"STT_URL": service, "STT_API_KEY": KEY, "STT_REDIS_URL": redis_url, "STT_S3_ENDPOINT": s3.endpoint}
    status, findings = examine(environ, "--sample", str(sample), "--out", f"s3://{BUCKET}/results")
    object_store._store_of.cache_clear()
    assert of(findings, "outputs") == ["ok"], findings
    assert status == 0
