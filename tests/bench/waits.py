"""What users wait for: start-up, reruns, the embedded recognizer, followers and large queues. Parts of `Bench`."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench import embedded, files, jobs, machine
from tests.bench.say import say
from tests.evaluate import corpus, score

SAMPLE = machine.ROOT / "tests" / "samples" / "phone-call.wav"


class WaitParts:
    """Parts of the benchmark; see `tests.bench.parts.Bench`."""

    _folder: Path
    _short: bool

    def _count(self) -> int:
        return 1 if self._short else 5

    def help(self) -> dict[str, Any]:
        """Measure the time of a command that only prints its help, and its CPU time against an empty program."""
        found: dict[str, Any] = {}
        for option in ("--help", "--version"):
            runs = [
                (embedded.command_line(option), embedded.program(sys.executable, "-c", "pass"))
                for _ in range(self._count() + 1)
            ][1:]  # the first run compiles the modules
            found[option] = {
                "wall_s": statistics.median(run.wall_s for run, _ in runs),
                "ratio": statistics.median(run.cpu_s / empty.cpu_s for run, empty in runs),
            }
            say(f"stt-batch {option}: {found[option]['wall_s']:.2f} s, {found[option]['ratio']:.1f} empty programs")
        return found

    def first(self) -> dict[str, float]:
        """Measure `run` of one file of 10 s, against a script that imports faster-whisper and transcribes it."""
        embedded.compare([SAMPLE], "plain", 1)
        found = embedded.compare([SAMPLE], "plain", self._count())
        say(f"one file of 10 s: {_ratios(found)}")
        return found

    def rerun(self) -> dict[str, Any]:
        """Measure a run whose files were all transcribed by an earlier run."""
        paths = jobs.make(self._folder / "short", 100 if self._short else 1000)
        found: dict[str, Any] = {"files": len(paths)}
        with machine.sink() as url, tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
            for name, sources in (("one", [str(paths[0])]), ("many", [str(paths[0].parent)])):
                out = ("--out", f"{folder}/{name}", "--format", "json", "--quiet")
                key = Path(folder) / "key"
                key.write_text("bench")
                arguments = ("run", *sources, "--url", url, "--api-key-file", str(key), "--speed", "max", *out)
                embedded.command_line(*arguments)
                runs = [embedded.command_line(*arguments) for _ in range(self._count())]
                found[name] = {
                    "wall_s": statistics.median(run.wall_s for run in runs),
                    "cpu_s": statistics.median(run.cpu_s for run in runs),
                }
        say(f"rerun with nothing to do: one file {found['one']['wall_s']:.2f} s ({found['one']['cpu_s']:.2f} s CPU), "
            f"{len(paths)} files {found['many']['wall_s']:.2f} s ({found['many']['cpu_s']:.2f} s CPU)")  # fmt: skip
        return found

    def recognize(self) -> dict[str, float]:
        """Measure real recordings, against faster-whisper's batched pipeline with the same model."""
        recordings = corpus.load(corpus.folder())
        if self._short:
            recordings = recordings[1:6]
        references = {recording.path.name: recording.reference for recording in recordings}

        def percent(texts: Mapping[str, str]) -> float:
            return score.total(
                [score.word_errors(text, texts.get(name, "")) for name, text in references.items()]
            ).percent

        found = embedded.compare([one.path for one in recordings], "batched", self._count(), percent)
        audio_s = sum(recording.duration_s for recording in recordings)
        say(f"{len(recordings)} recordings, {audio_s:.0f} s, against the batched pipeline: {_ratios(found)}, "
            f"word errors {found['percent']:.2f} % against {found['peer_percent']:.2f} %")  # fmt: skip
        return found | {"files": len(recordings), "audio_s": audio_s}

    def recognize_hour(self) -> dict[str, float]:
        """Measure one long file of real speech, against the batched pipeline."""
        minutes = 5 if self._short else 60
        path = files.repeated([one.path for one in corpus.load(corpus.folder())], self._folder, minutes)
        found = embedded.compare([path], "batched", 1 if self._short else 3)
        say(f"one file of {minutes} min, against the batched pipeline: {_ratios(found)}")
        return found

    def follow(self) -> dict[str, float]:
        """Measure the time from a commit to its arrival at a follower."""
        runs = [machine.measure("tests.bench.follow") for _ in range(self._count())]
        found = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        say(f"commit to follower: median {found['median_ms']:.1f} ms, 90th percentile {found['p90_ms']:.1f} ms")
        return found

    def queue(self) -> dict[str, Any]:
        """Measure the cost of a job in a large queue, against a queue of 1,000 jobs."""
        count = 5_000 if self._short else 100_000
        small, large = (machine.measure("tests.bench.queue_size", size) for size in (1_000, count))
        ratios = {name: large[name] / max(small[name], 1.0) for name in small if name != "bytes_per_job"}
        say(f"queue of {count} jobs against 1,000: " + ", ".join(f"{n} {r:.1f}x" for n, r in ratios.items())
            + f"; {large['bytes_per_job']:.0f} bytes of Redis for each job")  # fmt: skip
        return {"count": count, "small": small, "large": large, "ratios": ratios, "worst": max(ratios.values())}


def _ratios(found: Mapping[str, float]) -> str:
    return (
        f"wall time {found['wall_ratio']:.2f}x ({found['wall_s']:.1f} against {found['peer_wall_s']:.1f} s), "
        f"CPU {found['cpu_ratio']:.2f}x ({found['cpu_s']:.1f} against {found['peer_cpu_s']:.1f} s)"
    )
