"""Runs real `stt-batch worker` processes that use a real Valkey, and the self-hosted service with the tone recognizer
in a separate process. Leases are short, so that other workers take over the jobs of a killed worker within seconds.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import psutil
import pytest
import redis
import trustme

from tests.support.audiofiles import write_words
from tests.support.forked_process import ForkedProcess, start_process
from tests.support.pipeline_run import assert_said
from tests.support.ports import free_port
from tests.support.tone_recognizer import ENGINE
from tests.support.tones import ToneWord, speech
from tests.support.wait import wait_until
from worker.ledger.keys import Keys
from worker.ledger.records import FIELDS, JobRecord, read_record
from worker.settings import Settings, load
from worker.transcript.model import Segment, Transcript

ROOT = Path(__file__).parents[2]
KEY = "fleet-key"
LEASE_S, RENEW_S, REAP_S = 2.0, 0.5, 0.5
RESUME_S = LEASE_S + REAP_S + 2.0
"""Maximum seconds from the kill of a worker until another worker has taken over its job."""
RATE = 16000


def limit_of(seconds: float) -> pytest.MarkDecorator:
    """Return a decorator that passes a time limit to a test as its argument `limit_s`.

    The limit is `seconds` in the variant `measured` (marker `bench`), which must run alone on a machine, and five times
    as long in the variant `busy`, which runs with all other tests on a shared machine.
    """
    return pytest.mark.parametrize(
        "limit_s",
        [pytest.param(5 * seconds, id="busy"), pytest.param(seconds, id="measured", marks=pytest.mark.bench)],
    )


def open_sessions(url: str) -> int:
    """Return the number of open sessions, as the page /healthz of the service states it."""
    with urllib.request.urlopen(f"{url}/healthz", timeout=30) as answer:  # noqa: S310 - our own server
        return int(json.load(answer)["sessions"])


def environment(**settings: str) -> dict[str, str]:
    """Return the environment variables for a process of a test: those of this process, but with only the STT_ variables
    in `settings`, with the tone recognizer for the service, and with one certificate authority."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STT_")}
    inherited.setdefault("SSL_CERT_FILE", _one_authority())
    return {**inherited, "PYTHONPATH": str(ROOT), "STT_SERVER_RECOGNIZER": ENGINE, **settings}


@cache
def _one_authority() -> str:
    """Return a file with one certificate. A process needs 50 ms of CPU time to load those of the system."""
    path = Path(tempfile.gettempdir()) / f"stt-test-authority-{os.getuid()}.pem"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}")
        trustme.CA().cert_pem.write_to_path(temporary)
        temporary.replace(path)
    return str(path)


@contextmanager
def tone_server(folder: Path, *faults: str, port: int = 0, **settings: str) -> Iterator[str]:
    """Run the self-hosted service as a process, with `faults` (values of `--fault`) and `settings` (STT_ variables).
    Yields its URL."""
    port = port or free_port()
    ready = folder / f"server-{port}.ready"
    ready.unlink(missing_ok=True)
    arguments = ["--port", str(port), "--ready-file", str(ready)]
    for fault in faults:
        arguments += ["--fault", fault]
    environ = environment(**{"STT_SERVER_API_KEYS": KEY, "STT_SERVER_MAX_SESSIONS": "600", **settings})
    process = start_process("tasks.cli", "server", *arguments, env=environ, log=folder / f"server-{port}.log")
    try:
        wait_until(ready.exists, "the service is ready", timeout_s=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def listening_process(url: str) -> psutil.Process:
    """Return the process that listens on the port of `url`: a child of this process or of its fork server."""
    port = int(url.rsplit(":", 1)[1])
    return next(
        process
        for process in psutil.Process().children(recursive=True)
        if any(one.status == "LISTEN" and one.laddr.port == port for one in process.net_connections("tcp"))
    )


@dataclass
class Worker:
    """One worker process. `log`: the file with its output."""

    process: ForkedProcess
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def end(self) -> float:
        """Send SIGTERM and wait until the worker has ended. Returns the seconds that this took."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.text()
        return time.monotonic() - started

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def connections_to(self, url: str) -> int:
        """Return the number of open TCP connections from this worker to the service at `url`."""
        port = int(url.rsplit(":", 1)[1])
        found = psutil.Process(self.pid).net_connections("tcp")
        return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED")


@dataclass
class Fleet:
    """Workers that share one Redis and one service. `url`: the address of the service. `more`: further STT_ variables
    of the workers."""

    folder: Path
    redis_url: str
    url: str
    more: Mapping[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "STT_REDIS_URL": self.redis_url,
            "STT_URL": self.url,
            "STT_API_KEY": KEY,
            "STT_LEASE_S": str(LEASE_S),
            "STT_LEASE_RENEW_S": str(RENEW_S),
            "STT_REAP_INTERVAL_S": str(REAP_S),
            "STT_JOB_BACKOFF_S": "0.5",
            "STT_CLOSE_TIMEOUT_S": "1",
            **self.more,
        }

    @property
    def settings(self) -> Settings:
        return load(self.environ)

    @property
    def raw(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url, decode_responses=True)

    def launch(
        self, *, sessions: int = 4, module: str = "tasks.cli", arguments: Sequence[str] = (), **settings: str
    ) -> Worker:
        """Start a worker without waiting until it is ready. `module`: Python module to run instead of `stt-batch`.
        `arguments`: further options of the command."""
        number = len(self.workers)
        log = self.folder / f"worker-{number}.log"
        process = start_process(
            *(module, "worker", "--sessions", str(sessions)),
            *("--ready-file", str(self.folder / f"worker-{number}.ready"), *arguments),
            env=environment(**{**self.environ, **settings}),
            log=log,
        )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def start(self, *, sessions: int = 4, module: str = "tasks.cli", **settings: str) -> Worker:
        """Start a worker and wait until it is ready. The arguments are those of `launch`."""
        ready = self.folder / f"worker-{len(self.workers)}.ready"
        worker = self.launch(sessions=sessions, module=module, **settings)
        wait_until(lambda: ready.exists() or worker.process.poll() is not None, "the worker is up", timeout_s=80)
        assert worker.process.poll() is None, worker.text()
        return worker

    def owner(self, job_id: str) -> Worker:
        """Return the worker that has the lease of a job."""
        pid = int(self.record(job_id).owner.split(":")[1])
        return next(worker for worker in self.workers if worker.pid == pid)

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)  # a test may have stopped the worker with SIGSTOP
                worker.kill()
        self._polled.close()

    # -- jobs --------------------------------------------------------------------------------------------------------

    def audio(self, name: str, duration_s: float = 6.0, seed: int = 1) -> tuple[Path, list[ToneWord]]:
        words = list(speech(duration_s, seed=seed))
        path = self.folder / "in" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        return write_words(path, words, RATE), words

    @cached_property
    def _polled(self) -> redis.Redis:
        """A Redis client that is shared by all queries in loops, so that they do not open a connection each."""
        return self.raw

    def record(self, job_id: str) -> JobRecord:
        values = self._polled.hmget(f"stt:job:{job_id}", FIELDS)
        record = read_record(job_id, dict(zip(FIELDS, values, strict=True)))
        assert record is not None
        return record

    def until_ended(self, *job_ids: str, timeout_s: float = 90.0) -> None:
        running = list(job_ids)

        def ended() -> bool:
            running[:] = [job_id for job_id in running if not self.record(job_id).state.ended]
            return not running

        wait_until(ended, "the jobs end", timeout_s=timeout_s, poll_s=0.05)

    def transcript(self, job_id: str) -> Transcript:
        with self.raw as raw:
            return Transcript.model_validate_json(raw.get(f"stt:job:{job_id}:transcript") or "")

    def assert_done(self, job_id: str, words: Sequence[ToneWord]) -> Transcript:
        """Assert that a job is done, and that each word appears exactly once and in order, both in the transcript and
        in the commits recorded in Redis. Returns the transcript."""
        record = self.record(job_id)
        assert record.state == "done", (record.state, record.error)
        transcript = self.transcript(job_id)
        assert_said(transcript, words)
        assert self.committed(job_id) == [word.text for word in words]
        return transcript

    def committed(self, job_id: str) -> list[str]:
        with self.raw as raw:
            segments = [
                Segment.model_validate_json(entry["segment"]) for _, entry in raw.xrange(f"stt:job:{job_id}:commits")
            ]
        return [word.text for segment in segments for word in segment.words]

    def queued_messages(self) -> int:
        with self.raw as raw:
            return sum(raw.llen(name) for name in Keys("stt:").queue_lists("stt"))

    def lose_messages(self) -> None:
        with self.raw as raw:
            raw.delete(*Keys("stt:").queue_lists("stt"))

    def until_acknowledged(self, timeout_s: float = 40.0) -> None:
        with self.raw as raw:
            wait_until(
                lambda: self.queued_messages() == 0 and raw.hlen("stt:celery:unacked") == 0,
                "every message is acknowledged",
                timeout_s=timeout_s,
            )


def assert_every_key_ends(url: str, prefix: str = "stt:") -> None:
    """Assert that every key that starts with `prefix` has a TTL, so that Redis deletes it some day."""
    with redis.Redis.from_url(url, decode_responses=True) as raw:
        endless = [key for key in raw.scan_iter(f"{prefix}*") if raw.ttl(key) == -1]
    # The keys of kombu get their end from the next search of a reaper, which may not have run yet.
    endless = [key for key in endless if not key.startswith(f"{prefix}celery:")]
    assert not endless, f"keys without an end: {endless}"
