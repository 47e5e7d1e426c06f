"""`python -m tests.bench [--short] [--json FILE] [--only PART]`: see the package."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import files, machine, naive, start

LATE_AT_MOST_FRAMES = 1.0
STEPS = (0.4, 0.55, 0.7, 0.8, 0.9, 1.0)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Bench:
    def __init__(self, folder: Path, *, short: bool) -> None:
        self._folder = folder
        self._short = short
        self._minutes = 5 if short else 30
        self._times = 3 if short else 7

    def _cases(self) -> list[tuple[str, Path]]:
        return [(name, files.make(self._folder, self._minutes, *spec)) for name, *spec in (files.FLAC, files.WAV)]

    def whole(self) -> dict[str, Any]:
        """The whole path at full speed beside the floors of its stages, in turns."""
        found = {}
        for name, path in self._cases():
            floors, costs, speeds = [], [], []
            with machine.sink() as url:
                for _ in range(self._times):
                    floors.append(machine.measure("tests.bench.floors", path, url))
                    run = machine.measure("tests.bench.whole", path, url)
                    costs.append(run["cpu_s_per_h"])
                    speeds.append(run["audio_s"] / run["elapsed_s"])
            stages = {s: statistics.median(f["stages"][s] for f in floors) for s in floors[0]["stages"]}
            ratio = statistics.median(cost / floor["sum"] for cost, floor in zip(costs, floors, strict=True))
            cost, floor, speed = map(statistics.median, (costs, [f["sum"] for f in floors], speeds))
            found[name] = {"s_per_h": cost, "floor": floor, "ratio": ratio, "real_time": speed, "stages": stages}
            parts = ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items())
            say(f"{name}: {cost:.2f} s/h, floor {floor:.2f} ({parts}), ratio {ratio:.2f}, {speed:.0f}x real time")
        return found

    def naive(self) -> dict[str, Any]:
        """What a user would do instead, against the same sink."""
        found: dict[str, Any] = {}
        for name, path in self._cases():
            for way in ("async", "sync", "ffmpeg"):
                if reason := naive.available(way):
                    found[f"{name}, {way}"] = reason
                    say(f"{name}, {way} loop: not measured, {reason}")
                    continue
                with machine.sink() as url:
                    runs = [machine.measure("tests.bench.naive", way, path, url) for _ in range(self._times)]
                found[f"{name}, {way}"] = cost = statistics.median(r["cpu_s_per_h"] for r in runs)
                say(f"{name}, {way} loop of the API page: {cost:.2f} s/h")
        return found

    def live(self) -> dict[str, Any]:
        """How many sessions at the pace of speech one core takes, and what each of them holds."""
        found = {}
        for name, *spec in (files.FLAC, files.WAV):
            path = files.make(self._folder, 5, *spec)
            one, many = (self._live(path, count) for count in (1, 101 if self._short else 201))
            kb = (many["rss_kb"] - one["rss_kb"]) / (many["sessions"] - 1)
            by_cpu = int(1000 / many["cpu_ms_per_s"])
            result = {"kb_per_session": kb, "cpu_ms_per_s": many["cpu_ms_per_s"], "by_cpu": by_cpu, "tried": [many]}
            say(f"{name}: {kb:.0f} KB and {many['cpu_ms_per_s']:.2f} ms CPU a second per live session, "
                f"at most {by_cpu} by that; {_lateness(many)}")  # fmt: skip
            if not self._short:
                result["most"] = self._most(path, by_cpu, result["tried"])
                say(f"{name}: {result['most']} sessions on one core with p99 lateness under one frame")
            found[name] = result
        return found

    def _live(self, path: Path, count: int) -> dict[str, Any]:
        with machine.sink(core=1) as url:
            return machine.measure("tests.bench.live", path, url, count, 5 if self._short else 15, core=0)

    def _most(self, path: Path, by_cpu: int, tried: list[dict[str, Any]]) -> int:
        most = 0
        for step in STEPS:
            run = self._live(path, int(by_cpu * step))
            tried.append(run)
            say(f"    {_lateness(run)}")
            if not _in_time(run):
                break
            most = run["sessions"]
        return most

    def memory(self) -> dict[str, Any]:
        """Peak memory of a process by the length of its file."""
        lengths = (1, 60) if self._short else (1, 24 * 60)
        peaks = []
        with machine.sink() as url:
            for minutes in lengths:
                path = files.make(self._folder, minutes, *files.MULAW[1:])
                runs = [machine.measure("tests.bench.whole", path, url)["peak_kb"] / 1024 for _ in range(3)]
                peaks.append(statistics.median(runs))
        say(f"peak memory: {peaks[0]:.1f} MB for {lengths[0]} min, {peaks[1]:.1f} MB for {lengths[1]} min of audio")
        return {"minutes": lengths, "peak_mb": peaks, "grown_mb": peaks[1] - peaks[0]}

    def start(self) -> dict[str, Any]:
        """Imports, and a run's first chunk."""
        path = files.make(self._folder, 1, *files.WAV[1:])
        imported = start.import_s("from tasks import submit", self._times)
        with machine.sink() as url:
            first = statistics.median(start.first_chunk_s(url, path) for _ in range(self._times))
        say(f"start: `from tasks import submit` {imported:.2f} s; `stt-batch run` to its first chunk {first:.2f} s")
        return {"import_s": imported, "first_chunk_s": first}

    def plan(self) -> dict[str, Any]:
        """Planning sections, with and without looking for speech."""
        found = {}
        for name, path in self._cases():
            runs = [machine.measure("tests.bench.plan", path) for _ in range(self._times)]
            found[name] = costs = {
                k: statistics.median(r[k] for r in runs) for k in ("decode", "plan", "plan_and_skip")
            }
            say(f"{name}, sections planned: decode {costs['decode']:.2f}, plan {costs['plan']:.2f}, "
                f"with {runs[0]['detector'] or 'levels'} {costs['plan_and_skip']:.2f} s/h")  # fmt: skip
        return found


def _in_time(run: dict[str, Any]) -> bool:
    late = run["late_p99_s"]
    return late is not None and late < LATE_AT_MOST_FRAMES * run["frame_s"] and run["arrived"] > 0.98


def _lateness(run: dict[str, Any]) -> str:
    late = "none" if run["late_p99_s"] is None else f"{run['late_p99_s'] * 1000:.0f} ms"
    starved = "; the machine gave it no more" if run["core"] < 0.85 and not _in_time(run) else ""
    shares = f"{run['core']:.0%} of a core, {run['arrived']:.0%} arrived"
    return f"{run['sessions']} sessions: p99 late {late}, {shares}{starved}"


def main() -> None:
    parts = ("whole", "naive", "live", "memory", "start", "plan")
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute or two: gross changes show")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--only", action="append", choices=parts, help="some parts")
    parser.add_argument("--folder", type=Path, help="keep the audio there")
    arguments = parser.parse_args()
    described = machine.describe()
    say(f"{described['cpu']}, {described['cores']} cores, load {described['load']}, Python {described['python']}")
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        bench = Bench(arguments.folder or Path(folder), short=arguments.short)
        measured: dict[str, Any] = {}
        for part in arguments.only or parts:
            work: Callable[[], dict[str, Any]] = getattr(bench, part)
            measured[part] = work()
    described["load_after"] = machine.describe()["load"]
    if arguments.json:
        result = {"machine": described, "short": arguments.short, "measured": measured}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
