"""Monitoring of a worker, the service and the intake: health file, /metrics, log lines."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tasks import submit
from tasks.cli.health import problem
from tests.support.fleet import KEY, Fleet, Worker, environment
from tests.support.forked_process import start_process
from tests.support.ports import free_port
from tests.support.redis_server import Valkey
from tests.support.tones import ToneWord
from tests.support.wait import wait_until

ALIVE_S = 6.0
"""Seconds a part may be silent in these tests."""


def scraped(port: int) -> dict[str, float]:
    """Return all samples of a metrics page by name; labels are a part of the name, as in `name{label value,…}`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name} {value}" for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    folder = tmp_path / "valkey"
    folder.mkdir()
    server = Valkey(folder)
    yield server
    server.kill()


@pytest.fixture
def fleet_settings() -> Mapping[str, str]:
    return {"STT_SPEED": "max", "STT_LOG_FORMAT": "json"}


def well(path: Path, *, ready: bool = True) -> bool:
    return problem(str(path), ready=ready, max_age_s=ALIVE_S) is None


def test_a_worker_without_redis_is_alive_but_not_ready(fleet: Fleet, valkey: Valkey, tmp_path: Path) -> None:
    health, port = tmp_path / "health", free_port()
    worker = fleet.start(STT_REDIS_URL=valkey.url, STT_HEALTH_FILE=str(health), STT_METRICS_PORT=str(port))
    wait_until(lambda: well(health), "the worker is ready", timeout_s=40)
    assert "worker timer" in json.loads(health.read_text())["beats"]
    assert scraped(port)["stt_redis_up"] == 1
    valkey.stop()
    wait_until(lambda: "does not answer" in (problem(str(health), ready=True) or ""), "it is not ready", timeout_s=60)
    wait_until(lambda: "worker timer" not in health.read_text(), "its timer has nothing to do", timeout_s=60)
    assert well(health, ready=False)
    wait_until(lambda: scraped(port)["stt_redis_up"] == 0, "the metric shows the outage", timeout_s=40)
    assert well(health, ready=False), "a restart would not help it"
    valkey.start()
    wait_until(lambda: well(health), "it is ready again", timeout_s=60)
    wait_until(lambda: "worker timer" in health.read_text(), "its timer beats again", timeout_s=60)
    assert worker.process.poll() is None
    worker.end()
    assert not health.exists()


def test_a_suspended_worker_is_not_alive_and_neither_is_one_with_a_blocked_event_loop(
    fleet: Fleet, tmp_path: Path
) -> None:
    health, mark = tmp_path / "health", tmp_path / "blocked"
    worker = fleet.start(
        module="tests.support.blocked_worker", STT_HEALTH_FILE=str(health), BLOCKS_ONCE=str(mark), BLOCKS_S="20"
    )
    wait_until(lambda: well(health), "the worker is ready", timeout_s=40)
    worker.signal(signal.SIGSTOP)
    wait_until(lambda: not well(health, ready=False), "its beats are old", timeout_s=30, poll_s=0.1)
    worker.signal(signal.SIGCONT)
    wait_until(lambda: well(health), "it beats again", timeout_s=60)

    # The timer of the worker continues while the event loop is blocked.
    submit(fleet.audio("a", 20.0)[0], settings=fleet.settings)
    wait_until(mark.exists, "the loop is blocked by the first commit", timeout_s=40)
    wait_until(lambda: not well(health, ready=False), "it is found out", timeout_s=18, poll_s=0.1)
    assert "event loop wrote nothing" in (problem(str(health), max_age_s=ALIVE_S) or "")
    wait_until(lambda: well(health), "it beats again", timeout_s=40, poll_s=0.1)


def test_metrics_and_log_of_a_worker_report_its_jobs(fleet: Fleet, tmp_path: Path) -> None:
    port = free_port()
    worker = fleet.start(STT_METRICS_PORT=str(port), STT_LOG_LEVEL="info")
    source, words = fleet.audio("a-private-name", 12.0)
    before = scraped(port)
    handle = submit(source, idempotency_key="anna.smith-2026", settings=fleet.settings)
    handle.wait(timeout_s=60)
    fleet.assert_done(handle.id, words)

    def counted(name: str) -> float:
        return scraped(port).get(name, 0.0) - before.get(name, 0.0)

    wait_until(lambda: counted("stt_jobs_ended_total{state done}") == 1, "the end is counted", timeout_s=40)
    duration_s = fleet.transcript(handle.id).coverage.duration
    assert counted("stt_audio_sent_seconds_total") == pytest.approx(duration_s, abs=0.1)
    assert duration_s - 2.0 < counted("stt_audio_committed_seconds_total") <= duration_s
    assert counted("stt_sessions_ended_total{outcome completed}") == 1
    assert counted("stt_job_speed_ratio_count") == 1
    assert counted("stt_commit_latency_seconds_count") == len(fleet.transcript(handle.id).segments)
    assert counted("stt_job_failures_total{code internal}") == 0
    after = scraped(port)
    assert after["stt_sessions_open"] == after["stt_worker_jobs_running"] == 0
    assert not [name for name in ("private", "anna", KEY, words[0].text) if name in str(after)]
    wait_until(lambda: scraped(port)["stt_jobs{state running}"] == 0, "the queue is looked at", timeout_s=40)

    # Output failures are counted by the kind of the folder.
    (tmp_path / "file").write_text("no folder")
    refused, _ = fleet.audio("b", 4.0)
    submit(refused, out_dir=str(tmp_path / "file" / "out"), settings=fleet.settings)
    wait_until(
        lambda: scraped(port).get("stt_output_failures_total{storage file}", 0) >= 1,
        "the failure is counted",
        timeout_s=40,
        poll_s=0.1,
    )
    assert str(tmp_path) not in str(scraped(port))
    worker.end()
    assert_log_lines(worker, handle.id, words)


def test_queue_length_and_age_include_jobs_that_no_worker_takes(fleet: Fleet, tmp_path: Path) -> None:
    port = free_port()
    missing = [submit(tmp_path / f"{n}.wav", idempotency_key=f"job-{n}", settings=fleet.settings) for n in range(3)]
    assert len(missing) == 3
    intake = start_process(
        *("tasks.cli", "intake"),
        env=environment(**{**fleet.environ, "STT_METRICS_PORT": str(port)}),
        log=tmp_path / "intake.log",
    )
    try:

        def seen() -> bool:
            try:
                now = scraped(port)
            except OSError:
                return False
            return now["stt_jobs{state queued}"] == 3 if "stt_jobs{state queued}" in now else False

        wait_until(seen, "the intake's process tells of them", timeout_s=40, poll_s=0.2)
        now = scraped(port)
        assert now["stt_queue_depth"] == 3
        assert 0 < now["stt_queue_oldest_seconds"] < 60
        wait_until(lambda: scraped(port)["stt_queue_oldest_seconds"] > 6, "they grow older", timeout_s=60, poll_s=0.2)
    finally:
        intake.terminate()
        assert intake.wait(30) == 0


def test_the_service_reports_its_sessions_and_its_health(fleet: Fleet, tmp_path: Path) -> None:
    health, port = tmp_path / "server-health", free_port()
    log = tmp_path / "server.log"
    process = start_process(
        *("tasks.cli", "server", "--port", str(port)),
        env=environment(STT_SERVER_API_KEYS=KEY, STT_HEALTH_FILE=str(health), STT_LOG_FORMAT="json"),
        log=log,
    )
    try:
        wait_until(lambda: well(health), "the service is ready", timeout_s=60)
        assert scraped(port)["stt_server_ready"] == 1
        worker = fleet.start(STT_URL=f"http://127.0.0.1:{port}", STT_LOG_LEVEL="debug")
        source, words = fleet.audio("a", 8.0)
        handle = submit(source, settings=fleet.settings)
        handle.wait(timeout_s=60)
        fleet.assert_done(handle.id, words)
        wait_until(lambda: scraped(port)["stt_server_sessions_open"] == 0, "the session is over", timeout_s=40)
        now = scraped(port)
        assert now["stt_server_sessions_ended_total{code 1000}"] == 1
        assert now["stt_server_audio_seconds_total"] >= 8.0
        assert now["stt_server_backlog_seconds"] == 0
        worker.end()
    finally:
        process.terminate()
        process.wait(30)
    text = log.read_text()
    assert not health.exists()
    assert all(json.loads(line) for line in text.splitlines()), "every line is JSON"
    assert KEY not in text
    assert_log_lines(worker, handle.id, words)


def assert_log_lines(worker: Worker, job_id: str, words: Sequence[ToneWord]) -> None:
    """Assert that every line is JSON, that lines about a job have its id, that no line has a secret, and that only
    debug lines have transcribed text."""
    entries = [json.loads(line) for line in worker.text().splitlines()]
    assert all({"at", "level", "event"} <= set(entry) for entry in entries)
    assert {"job started", "session ended", "job done"} <= {entry["event"] for entry in entries}
    of_job = [entry for entry in entries if entry.get("job") == job_id]
    assert {"job started", "session ended", "job done"} <= {entry["event"] for entry in of_job}
    sessions = [entry for entry in of_job if entry["event"] == "session ended"]
    assert all({"section", "session"} <= set(entry) for entry in sessions)
    assert KEY not in worker.text()
    loud = "\n".join(json.dumps(entry) for entry in entries if entry["level"] != "debug")
    for word in words:
        assert word.text not in loud
