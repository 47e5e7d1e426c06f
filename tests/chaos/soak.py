"""A fleet with constant failures: every few seconds a process or connection is killed, stopped, cut or restarted.

    python -m tests.chaos.soak --minutes 3
    python -m tests.chaos.soak --minutes 30 --failovers

Three real workers, a Valkey with an append-only file, and the service with an engine that reads tone words. With
--failovers, three Sentinels watch a primary with two replicas, and the primary is killed or suspended. At the end
each word of each file must exist once. Prints a table. Exits with 1 if a word is lost or duplicated, a job did not end,
or a killed worker's job waited for longer than lease + reap + 2 s.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tasks.client.handles import submit
from tests.support.fleet import Fleet, Worker, assert_every_key_ends, tone_server
from tests.support.ports import free_port
from tests.support.redis_server import Valkey
from tests.support.redis_topologies import SentinelFleet, Server, sentinel_fleet
from tests.support.tones import ToneWord
from worker.errors import LedgerUnavailable
from worker.ledger.records import JobState

LEASE_S, RENEW_S, REAP_S = 4.0, 1.0, 1.0
BOUND_S = LEASE_S + REAP_S + 2.0
SESSIONS = 16
AT_ONCE = 24
"""Jobs in work at a time: fewer than two workers can take, so that none waits for room."""
SOURCES = 20
FILE_S = 20.0
SPEED = 2.0
EVERY_S = (2.0, 5.0)


class OneRedis:
    """A single Valkey, which is restarted."""

    actions = ("Redis restart",)

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        self.url = self.primary_url = valkey.url
        self.settings: dict[str, str] = {}

    def act(self, name: str) -> bool:
        """Run an action, one of `actions`. Returns False if it is not possible now."""
        self._valkey.restart()
        return True

    def tick(self) -> None:
        """Restart or resume a server whose outage has lasted long enough."""


class SentinelRedis:
    """Servers watched by Sentinels. The primary is killed, or suspended until the Sentinels have replaced it."""

    actions = ("failover", "failover", "primary hangs")

    def __init__(self, servers: SentinelFleet) -> None:
        self._servers = servers
        self.url = servers.url
        self.settings = {"STT_REDIS_REPLICAS": "1"}
        self._away: tuple[Server, str, float] | None = None

    @property
    def primary_url(self) -> str:
        return self._servers.primary().url

    def act(self, name: str) -> bool:
        if self._away is not None or not self._complete():
            return False
        primary = self._servers.primary()
        if name == "failover":
            primary.kill()
        else:
            primary.process.send_signal(signal.SIGSTOP)
        self._away = (primary, name, time.monotonic())
        return True

    def tick(self) -> None:
        if self._away is None:
            return
        server, name, since = self._away
        if self._servers.primary() is server or time.monotonic() - since < 4.0:
            return
        if name == "failover":
            server.start()
        else:
            server.process.send_signal(signal.SIGCONT)
        self._away = None

    def _complete(self) -> bool:
        try:
            return self._servers.complete()
        except redis.RedisError:
            return False


class RedisFleet(Fleet):
    """A fleet whose queries go to the current primary."""

    place: OneRedis | SentinelRedis
    _client: redis.Redis | None = None
    _asked_at = 0.0

    @property
    def raw(self) -> redis.Redis:
        return redis.Redis.from_url(self.place.primary_url, decode_responses=True, socket_timeout=5)

    @property
    def _polled(self) -> redis.Redis:  # type: ignore[override]
        if self._client is None or time.monotonic() - self._asked_at > 1.0:
            self._client, self._asked_at = self.raw, time.monotonic()
        return self._client


class Upstream:
    """The service. A restart kills it, and all its sessions are lost."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._stack = ExitStack()
        self.start()

    def start(self) -> None:
        self.url = self._stack.enter_context(tone_server(self._folder, port=self._port))

    def stop(self) -> None:
        self._stack.close()

    def restart(self) -> None:
        self.stop()
        self.start()


@dataclass
class Soak:
    fleet: RedisFleet
    redis: OneRedis | SentinelRedis
    upstream: Upstream
    files: list[tuple[Path, list[ToneWord]]]
    random: random.Random
    at_once: int = AT_ONCE
    jobs: dict[str, list[ToneWord]] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    down: dict[int, float] = field(default_factory=dict)  # worker number -> time of its restart or continuation
    orphans: dict[str, tuple[float, int]] = field(
        default_factory=dict
    )  # job -> time of its worker's death, epoch of its lease
    resumed_s: list[float] = field(default_factory=list)
    disturbed_s: list[float] = field(default_factory=list)  # the same for jobs with another fault in between
    last_act: float = 0.0
    actions: Counter[str] = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)  # workers that ended without a fault of ours
    place: dict[int, Worker] = field(default_factory=dict)

    def up(self) -> list[int]:
        return [number for number in self.place if number not in self.down]

    def tick(self, feed: bool) -> None:
        try:
            self.redis.tick()
            self.watch()
            if feed:
                self.feed()
        except (redis.RedisError, LedgerUnavailable):
            self.last_act = time.monotonic()  # Redis is away: no worker can take a job over
        for number, worker in self.place.items():
            if number not in self.down and worker.process.poll() is not None:
                self.ended.append(f"{worker.log}: exit {worker.process.returncode}")
                self.down[number] = time.monotonic()
        for number, due in list(self.down.items()):
            if time.monotonic() >= due:
                del self.down[number]
                if self.place[number].process.poll() is None:
                    self.place[number].signal(signal.SIGCONT)
                if self.place[number].process.poll() is not None:
                    self.place[number] = self.fleet.launch(sessions=SESSIONS)

    def feed(self) -> None:
        while len(self.open) < self.at_once:
            number = len(self.jobs)
            source, words = self.files[number % len(self.files)]
            job = submit(source, settings=self.fleet.settings, speed=SPEED, out_name=f"job-{number}", batch="soak")
            self.jobs[job.id] = words
            self.open.add(job.id)

    def watch(self) -> None:
        for job_id in list(self.open):
            record = self.fleet.record(job_id)
            if record.state.ended:
                self.open.discard(job_id)
            orphan = self.orphans.get(job_id)
            if orphan and (record.state.ended or (record.state is JobState.RUNNING and record.epoch > orphan[1])):
                took_s = time.monotonic() - orphan[0]
                disturbed = self.last_act > orphan[0] + 0.001
                (self.disturbed_s if disturbed else self.resumed_s).append(took_s)
                if took_s > BOUND_S:
                    print(f"{time.strftime('%X')} {job_id} resumed after {took_s:.1f} s, {disturbed=}", flush=True)  # noqa: T201
                del self.orphans[job_id]

    def act(self) -> None:
        name = self.random.choice(
            ["kill -9", "kill -9", "SIGTERM", "SIGSTOP", "CLIENT KILL", "upstream drop", *self.redis.actions]
        )
        up = self.up()
        if name in ("kill -9", "SIGTERM", "SIGSTOP") and len(up) < 3:
            return  # one at a time: another worker must be able to continue
        number = self.random.choice(up) if up else 0
        if name in self.redis.actions and not self.redis.act(name):
            return
        self.last_act = time.monotonic()
        print(f"{time.strftime('%X')} {name}  open {len(self.open)}, sent {len(self.jobs)}", flush=True)  # noqa: T201
        if name == "kill -9":
            worker = self.place[number]
            held = [(i, self.fleet.record(i)) for i in self.open]
            worker.kill()
            now = time.monotonic()
            for job_id, record in held:
                if record.state is JobState.RUNNING and f":{worker.pid}:" in record.owner:
                    self.orphans[job_id] = (now, record.epoch)
            self.last_act = now
            self.down[number] = now + 1.0
        elif name == "SIGTERM":
            self.place[number].signal(signal.SIGTERM)
            self.down[number] = time.monotonic() + 4.0
        elif name == "SIGSTOP":
            self.place[number].signal(signal.SIGSTOP)
            self.down[number] = time.monotonic() + LEASE_S + REAP_S + 2.0
        elif name == "CLIENT KILL":
            with self.fleet.raw as raw:
                raw.client_kill_filter(_type="normal", skipme=True)
        elif name == "upstream drop":
            self.upstream.restart()
        self.actions[name] += 1

    def words(self) -> tuple[int, int, Counter[str]]:
        """Return the number of lost words, the number of duplicated words (in transcripts or among commits), and the
        number of jobs in each state."""
        lost = doubled = 0
        states: Counter[str] = Counter()
        for job_id, said in self.jobs.items():
            record = self.fleet.record(job_id)
            states[record.state] += 1
            expected = [word.text for word in said]
            heard = []
            if record.state in (JobState.DONE, JobState.INCOMPLETE):
                transcript = self.fleet.transcript(job_id)
                heard = [word.text for segment in transcript.segments for word in segment.words]
            lost += len(set(expected) - set(heard))
            for found in (heard, self.fleet.committed(job_id)):
                doubled += len(found) - len(set(found))
        return lost, doubled, states


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failovers", action="store_true", help="run Redis behind Sentinels, and kill the primary")
    parser.add_argument("--jobs", type=int, default=AT_ONCE, help="number of running jobs")
    parser.add_argument("--keep", type=Path, help="folder for the logs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stt-soak-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            place: OneRedis | SentinelRedis
            if given.failovers:
                place = SentinelRedis(stack.enter_context(sentinel_fleet(folder / "redis")))
            else:
                valkey = Valkey(folder)
                stack.callback(valkey.stop)
                place = OneRedis(valkey)
            upstream = Upstream(folder)
            stack.callback(upstream.stop)
            return run(folder, place, upstream, given)


def run(folder: Path, place: OneRedis | SentinelRedis, upstream: Upstream, given: argparse.Namespace) -> int:
    settings = {"STT_LEASE_S": str(LEASE_S), "STT_LEASE_RENEW_S": str(RENEW_S), "STT_REAP_INTERVAL_S": str(REAP_S)}
    fleet = RedisFleet(folder, place.url, upstream.url, {**settings, **place.settings})
    fleet.place = place
    files = [fleet.audio(f"f{n}", FILE_S, seed=n) for n in range(SOURCES)]
    soak = Soak(fleet, place, upstream, files, random.Random(given.seed), given.jobs)
    try:
        for number in range(3):
            soak.place[number] = fleet.start(sessions=SESSIONS)
        started = time.monotonic()
        next_act = started + 5.0
        while time.monotonic() - started < given.minutes * 60:
            soak.tick(feed=True)
            if time.monotonic() >= next_act:
                with suppress(redis.RedisError):  # an act that needs Redis, during a failover
                    soak.act()
                next_act = time.monotonic() + soak.random.uniform(*EVERY_S)
            time.sleep(0.1)
        deadline = time.monotonic() + 300
        while soak.open and time.monotonic() < deadline:
            soak.tick(feed=False)
            time.sleep(0.1)
        lost, doubled, states = soak.words()
        refused = sum(worker.text().count("lease lost") for worker in fleet.workers)
        table = {
            "jobs": len(soak.jobs),
            "states": dict(states),
            "actions": dict(soak.actions),
            "words": sum(map(len, soak.jobs.values())),
            "words lost": lost,
            "words doubled": doubled,
            "zombies refused": refused,
            "resumed after a kill": len(soak.resumed_s) + len(soak.disturbed_s),
            "longest from kill to resume, s": round(max(soak.resumed_s, default=0.0), 2),
            "allowed, s": BOUND_S,
            "the same with another fault in between, s": round(max(soak.disturbed_s, default=0.0), 2),
            "not resumed": len(soak.orphans),
            "workers that ended by themselves": soak.ended,
        }
        print(json.dumps(table, indent=2))  # noqa: T201
        assert_every_key_ends(place.primary_url)
        good = (
            states == {JobState.DONE: len(soak.jobs)}
            and not lost
            and not doubled
            and not soak.orphans
            and not soak.ended
        )
        return 0 if good and table["longest from kill to resume, s"] <= BOUND_S else 1
    finally:
        fleet.close()


if __name__ == "__main__":
    sys.exit(main())
