"""The parts of the benchmark. Each measures one or two figures and prints them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import files, hour, jobs, machine, naive, prefork, start, tail
from tests.bench.files import Spec
from tests.bench.live import OURS, STAGES
from tests.bench.say import say
from tests.bench.waits import WaitParts

FIRST_OF_CPU = 0.75  # where the search begins: part of the number that CPU time alone would allow
LIVE_MIN = 15  # length of live files: longer than any measurement
SPECS = (files.FLAC, files.WAV)


class Bench(WaitParts):
    """The measurements of the benchmark. `folder`: contains the audio. `short`: measure each for a shorter time."""

    def __init__(self, folder: Path, *, short: bool) -> None:
        self._folder = folder
        self._short = short
        self._minutes = 5 if short else 30
        self._times = 3 if short else 7
        self._tries = 1 if short else 3
        folder.mkdir(parents=True, exist_ok=True)

    def _cases(self) -> list[tuple[str, Path]]:
        return [(spec.name, files.make(self._folder, self._minutes, spec)) for spec in SPECS]

    def whole(self) -> dict[str, Any]:
        """Measure the whole pipeline at full speed, and alternately the minimum costs of its stages."""
        return self._against_floors(self._cases())

    def codecs(self) -> dict[str, Any]:
        """Measure the same for lossy codecs, with files of five minutes."""
        return self._against_floors([(spec.name, files.make(self._folder, 5, spec)) for spec in files.LOSSY])

    def _against_floors(self, cases: Sequence[tuple[str, Path]]) -> dict[str, Any]:
        found = {}
        for name, path in cases:
            floors, costs, speeds = [], [], []
            with machine.sink() as url:
                for _ in range(self._times):
                    floors.append(machine.measure("tests.bench.floors", path, url))
                    run = machine.measure("tests.bench.whole", path, url)
                    costs.append(run["cpu_s_per_h"])
                    speeds.append(run["audio_s"] / run["elapsed_s"])
                account = machine.measure("tests.bench.whole", path, url, "max", "account")["stages"]
            stages = {s: statistics.median(f["stages"][s] for f in floors) for s in floors[0]["stages"]}
            ratio = statistics.median(cost / floor["sum"] for cost, floor in zip(costs, floors, strict=True))
            cost, floor, speed = map(statistics.median, (costs, [f["sum"] for f in floors], speeds))
            interleaved = statistics.median(one["interleaved"] for one in floors)
            found[name] = {"s_per_h": cost, "floor": floor, "interleaved": interleaved, "ratio": ratio,
                           "real_time": speed, "stages": stages, "account": account}  # fmt: skip
            parts = ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items())
            say(f"{name}: {cost:.2f} s/h, floor {floor:.2f} ({parts}; {interleaved:.2f} interleaved), "
                f"ratio {ratio:.2f}, {speed:.0f}x real time")  # fmt: skip
            own = ", ".join(f"{stage} {value:.2f}" for stage, value in sorted(account.items(), key=lambda s: -s[1]))
            say(f"    accounted: {own}")
        return found

    # -- live sessions -----------------------------------------------------------------------------------------------

    def session(self) -> dict[str, Any]:
        """Measure the memory and CPU time of each additional live session."""
        return {spec.name: self._session(OURS, spec) for spec in SPECS}

    def frame(self) -> dict[str, Any]:
        """Measure the CPU time of a frame of a live session, its stages, and the same for a loop without them."""
        found = {}
        for spec in SPECS:
            path = files.make(self._folder, LIVE_MIN, spec)
            plain = files.make(self._folder, LIVE_MIN, files.WAV)
            with machine.sink(core=1) as url:
                cost = machine.measure(
                    "tests.bench.frame_cost", path, plain, url, 40, 8, 1 if self._short else 3, core=0
                )
            found[spec.name] = cost
            stages = ", ".join(f"{stage} {us:.0f}" for stage, us in sorted(cost["stages"].items(), key=lambda s: -s[1]))
            say(f"{spec.name}, a live frame of 250 ms: {cost['us']:.0f} µs CPU, {cost['ratio']:.2f} times that of a "
                f"loop which only encodes and writes; accounted: {stages}")  # fmt: skip
        return found

    def live_flac(self) -> dict[str, Any]:
        """Measure the maximum number of live sessions, and once, in the full form, of loops that only run the
        stages."""
        found = self._most(OURS, files.FLAC, self._tries)
        return found if self._short else found | {"stages": self._most(STAGES, files.FLAC, 1)}

    def live_wav(self) -> dict[str, Any]:
        return self._most(OURS, files.WAV, self._tries)

    def _session(self, way: str, spec: Spec) -> dict[str, Any]:
        path = files.make(self._folder, LIVE_MIN, spec)
        count = 41 if way != OURS else 101 if self._short else 201
        one, many = (self._live(way, path, number, number, 5)["steps"][0] for number in (1, count))
        kb = (many["rss_kb"] - one["rss_kb"]) / (count - 1)
        found = {"kb": kb, "cpu_ms_per_s": many["cpu_ms_per_s"], "sessions": count}
        say(f"{path.name}, {way}: {kb:.0f} KB and {found['cpu_ms_per_s']:.2f} ms CPU a second per live session")
        return found

    def _live(self, way: str, path: Path, first: int, most: int, seconds: float) -> dict[str, Any]:
        with machine.sink(core=1) as url:
            return machine.measure("tests.bench.live", way, path, url, first, most, seconds, core=0)

    def _most(self, way: str, spec: Spec, tries: int) -> dict[str, Any]:
        """Return the maximum number of real-time sessions on one core whose chunks are less than a frame late (99th
        percentile): the median of `tries`."""
        path = files.make(self._folder, LIVE_MIN, spec)
        known = self._live(way, path, 150, 150, 6)["steps"][0]
        by_cpu = 1000 / known["cpu_ms_per_s"]
        tried = []
        for _ in range(tries):
            found = self._live(way, path, int(by_cpu * FIRST_OF_CPU), int(by_cpu * 3), 8)
            if not found["most"]:
                found = self._live(way, path, int(by_cpu * FIRST_OF_CPU / 2), int(by_cpu), 8)
            tried.append(found)
            for step in found["steps"]:
                say(f"    {_lateness(step)}")
        most = statistics.median(found["most"] for found in tried)
        say(f"{spec.name}, {way}: {most:.0f} sessions on one core with p99 lateness under one frame of "
            f"{known['frame_s'] * 1000:.0f} ms; {by_cpu:.0f} by CPU time")  # fmt: skip
        with machine.sink() as url:
            # The limit of one core: 3,600 s over the CPU seconds of all stages for an hour of audio.
            limit = 3600 / machine.measure("tests.bench.floors", files.make(self._folder, 5, spec), url)["sum"]
        say(f"{spec.name}: {most / limit:.0%} of the limit of {limit:.0f} sessions")
        return {"most": most, "share": most / limit, "by_cpu": by_cpu, "frame_s": known["frame_s"], "tried": tried}

    # -- one file ----------------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        """Measure the peak memory of a process for files of different lengths."""
        lengths = (1, 60) if self._short else (1, 24 * 60)
        peaks = []
        with machine.sink() as url:
            for minutes in lengths:
                path = files.make(self._folder, minutes, files.MULAW)
                runs = [machine.measure("tests.bench.whole", path, url)["peak_kb"] / 1024 for _ in range(3)]
                peaks.append(statistics.median(runs))
        say(f"peak memory: {peaks[0]:.1f} MB for {lengths[0]} min, {peaks[1]:.1f} MB for {lengths[1]} min of audio")
        return {"minutes": lengths, "peak_mb": peaks, "grown_mb": peaks[1] - peaks[0]}

    def hour(self) -> dict[str, Any]:
        """Measure a long file with a service that accepts audio at real time only."""
        minutes, sessions = (4, 8) if self._short else (60, 32)
        found = hour.run(self._folder, minutes, sessions)
        words = "each word once" if found["each_word_once"] else "WORDS ARE MISSING OR TWICE"
        same = "as in one session" if found["words_as_in_one_session"] else "NOT AS IN ONE SESSION"
        say(f"{minutes} min in {sessions} sessions at 1x: {found['elapsed_s']:.0f} s in {found['sections']} sections; "
            f"{found['words']} words, {words}, {same}, at most {found['most_off_s'] * 1000:.0f} ms off")  # fmt: skip
        return found

    def tail(self) -> dict[str, Any]:
        """Measure the time from the end of the sound to the stored transcript. The service commits after 1.5 s of
        silence. The silence is measured in the audio, which may be sent faster than real time, or on the clock. Reports
        the slower result of the two."""
        found = {}
        for wall in (False, True):
            with machine.sink(pause_s=1.5, wall=wall) as url:
                found["clock" if wall else "audio"] = tail.run(self._folder, url, self._times)
        median_s = max(one["median_s"] for one in found.values())
        say(f"end of audio to transcript stored: {found['audio']['median_s']:.2f} s with a commit pause of 1.5 s of "
            f"audio, {found['clock']['median_s']:.2f} s with one on the clock")  # fmt: skip
        return {"median_s": median_s, **found}

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Measure how long imports take, and the time from the start of a process to its first chunk of audio."""
        path = files.make(self._folder, 1, files.WAV)
        imported = start.import_s("from tasks import submit", self._times)
        with machine.sink() as url:
            start.worker_s(url, path)  # a first start compiles the imported modules
            worker = statistics.median(start.worker_s(url, path) for _ in range(self._times))
            run = statistics.median(start.run_s(url, path) for _ in range(self._times))
        say(f"start: `from tasks import submit` {imported:.3f} s; to the first chunk: a worker {worker:.2f} s, "
            f"`stt-batch run` {run:.2f} s")  # fmt: skip
        return {"import_s": imported, "worker_s": worker, "run_s": run}

    def jobs(self) -> dict[str, Any]:
        """Measure many short files with two workers."""
        paths = jobs.make(self._folder / "short", 100 if self._short else 1000)
        with machine.sink() as url:
            runs = [jobs.throughput(url, paths) for _ in range(1 if self._short else 3)]
        found = sorted(runs, key=lambda run: float(run["files_per_s"]))[len(runs) // 2]
        say(f"{len(paths)} files of 10 s: {found['files_per_s']:.0f} files/s, "
            f"{found['worker_cpu_ms']:.1f} ms CPU of the workers each")  # fmt: skip
        return found | {"all": [run["files_per_s"] for run in runs]}

    def plan(self) -> dict[str, Any]:
        """Measure the planning of sections, with and without voice activity detection."""
        found = {}
        for name, path in self._cases():
            runs = [machine.measure("tests.bench.plan", path) for _ in range(self._times)]
            found[name] = costs = {
                k: statistics.median(r[k] for r in runs) for k in ("decode", "plan", "plan_and_skip")
            }
            say(f"{name}, sections planned: decode {costs['decode']:.2f}, plan {costs['plan']:.2f}, "
                f"with {runs[0]['detector'] or 'levels'} {costs['plan_and_skip']:.2f} s/h")  # fmt: skip
        return found

    # -- what one would do instead -----------------------------------------------------------------------------------

    def beside_loop(self) -> dict[str, Any]:
        """Measure the simple loop of the API page, with which all results are compared."""
        return {"loop": self._naive("loop")}

    def beside(self) -> dict[str, Any]:
        """Measure the same work with simple clients that a user might write, against the same sink."""
        found = {way: self._naive(way) for way in naive.WAYS}
        short = jobs.make(self._folder / "short", 40 if self._short else 200)
        cores = machine.describe()["cores"]
        with machine.sink() as url:
            costs = {
                spec.name: prefork.throughput(url, [files.make(self._folder, 5, spec)] * cores, cores)["cpu_s_per_h"]
                for spec in SPECS
            }
            each = prefork.throughput(url, short, jobs.WORKERS * jobs.SESSIONS)["files_per_s"]
        found["Celery prefork"] = {**costs, "files_per_s": each}
        _say_costs("Celery prefork", found["Celery prefork"])
        return found

    def _naive(self, way: str) -> dict[str, Any]:
        if reason := naive.available(way):
            say(f"{way}: not measured, {reason}")
            return {"not measured": reason}
        found: dict[str, Any] = {}
        with machine.sink() as url:
            for spec in SPECS:
                paths = [files.make(self._folder, 5, spec)] * (4 if way == "threads" else 1)
                runs = [machine.measure("tests.bench.naive", way, url, *paths) for _ in range(1 if self._short else 3)]
                found[spec.name] = statistics.median(run["cpu_s_per_h"] for run in runs)
            short = jobs.make(self._folder / "short", 40 if self._short else 200)
            found["files_per_s"] = machine.measure("tests.bench.naive", way, url, *short)["files_per_s"]
        _say_costs(way, found)
        return found

    def beside_live(self) -> dict[str, Any]:
        """Measure real-time sessions of the other clients, and the memory of each session."""
        found: dict[str, dict[str, Any]] = {}
        for way in ("loop", "threads"):
            if not naive.available(way):
                most = self._most(way, files.FLAC, self._tries)["most"]
                found[way] = {"live": most, "kb": self._session(way, files.FLAC)["kb"]}
        with machine.sink() as url:
            kb = prefork.session_kb(url, files.make(self._folder, 1, files.FLAC), 4)
        found["Celery prefork"] = {"kb": kb}
        say(f"Celery prefork: {kb:.0f} KB a session")
        return found


def _say_costs(way: str, found: dict[str, Any]) -> None:
    costs = ", ".join(f"{spec.name} {found[spec.name]:.2f}" for spec in SPECS)
    say(f"{way}: {costs} s/h; {found['files_per_s']:.1f} files of 10 s in a second")


def _lateness(step: dict[str, Any]) -> str:
    late = "none" if step["late_p99_s"] is None else f"{step['late_p99_s'] * 1000:.0f} ms"
    return f"{step['sessions']} sessions: p99 late {late}, {step['core']:.0%} of a core, {step['arrived']:.0%} arrived"
