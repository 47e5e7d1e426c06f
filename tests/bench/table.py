"""The table of figures: required, aimed at and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Measured = Mapping[str, Any]
FLAC, WAV = "44.1 kHz stereo FLAC", "16 kHz mono WAV"
LOSSY = {"MP3": "44.1 kHz stereo MP3", "Opus": "48 kHz stereo Opus", "AAC": "44.1 kHz stereo AAC"}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `more`: whether a higher figure is better."""

    title: str
    unit: str
    part: str
    value: Callable[[Measured], float]
    at_least: float
    aim: float
    more: bool = False
    digits: int = 1

    def verdict(self, value: float) -> str:
        if self.meets(value, self.aim):
            return "aim"
        return "at least" if self.meets(value, self.at_least) else "missed"

    def meets(self, value: float, bound: float) -> bool:
        return value >= bound if self.more else value <= bound

    def show(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.unit}".strip()

    def bounds(self) -> tuple[str, str]:
        sign = "≥" if self.more else "≤"
        return f"{sign} {self.at_least:,g}", f"{sign} {self.aim:,g}"


def _ratio(name: str) -> Callable[[Measured], float]:
    return lambda measured: float(measured[name]["ratio"])


def _wall(measured: Measured) -> float:
    return float(measured["wall_ratio"])


ROWS = (
    Row("CPU against the sum of the stages, FLAC", "x", "whole", lambda m: m[FLAC]["ratio"], 1.12, 1.08, digits=2),
    Row("CPU against the sum of the stages, WAV", "x", "whole", lambda m: m[WAV]["ratio"], 1.5, 1.3, digits=2),
    *(
        Row(f"CPU against the sum of the stages, {codec}", "x", "codecs", _ratio(name), 1.2, 1.1, digits=2)
        for codec, name in LOSSY.items()
    ),
    Row("CPU of a live session against a loop, WAV", "x", "frame", lambda m: m[WAV]["ratio"], 2.0, 1.5, digits=2),
    Row("live sessions on one core, FLAC", "", "live-flac", lambda m: m["most"], 350, 500, more=True, digits=0),
    Row("live sessions on one core, WAV", "", "live-wav", lambda m: m["most"], 1000, 2000, more=True, digits=0),
    Row("memory per live session, WAV", "KB", "session", lambda m: m[WAV]["kb"], 110, 90, digits=0),
    Row("memory per live session, FLAC", "KB", "session", lambda m: m[FLAC]["kb"], 600, 450, digits=0),
    Row("peak memory, 24 hours against 1 minute", "MB", "memory", lambda m: m["grown_mb"], 30, 10),
    Row("60 minutes in 32 sessions at 1x", "s", "hour", lambda m: m["elapsed_s"], 180, 150, digits=0),
    Row("end of audio to transcript stored", "s", "tail", lambda m: m["median_s"], 3.0, 2.2, digits=2),
    Row("worker start to first chunk", "s", "start", lambda m: m["worker_s"], 2.0, 1.0, digits=2),
    Row("`from tasks import submit`", "s", "start", lambda m: m["import_s"], 0.5, 0.25, digits=3),
    Row("1,000 files of 10 s, 2 workers", "files/s", "jobs", lambda m: m["files_per_s"], 30, 100, more=True, digits=0),
    Row("CPU of the workers per file of 10 s", "ms", "jobs", lambda m: m["worker_cpu_ms"], 7, 5),
    Row("`stt-batch --help`", "s", "help", lambda m: m["--help"]["wall_s"], 0.25, 0.15, digits=2),
    Row("`stt-batch --version`", "s", "help", lambda m: m["--version"]["wall_s"], 0.25, 0.15, digits=2),
    Row("rerun with nothing to do, 1 file", "s", "rerun", lambda m: m["one"]["wall_s"], 0.6, 0.4, digits=2),
    Row("the same, 1,000 files", "s", "rerun", lambda m: m["many"]["wall_s"], 1.0, 0.7, digits=2),
    Row("`run` of one 10 s file against a script", "x", "first", lambda m: m["wall_ratio"], 1.3, 1.0, digits=2),
    Row("27 recordings against the batched pipeline, wall", "x", "recognize", _wall, 0.6, 0.5, digits=2),
    Row("the same, CPU", "x", "recognize", lambda m: m["cpu_ratio"], 0.75, 0.6, digits=2),
    Row("the same, word error rate", "%", "recognize", lambda m: m["percent"], 3.2, 3.0, digits=2),
    Row("60 minutes against the batched pipeline, wall", "x", "recognize-hour", _wall, 0.8, 0.6, digits=2),
    Row("commit to follower", "ms", "follow", lambda m: m["median_ms"], 20, 5),
    Row("cost per job, 100,000 jobs against 1,000", "x", "queue", lambda m: m["worst"], 2.0, 1.5, digits=2),
    Row("live FLAC sessions, share of the limit", "", "live-flac", lambda m: m["share"], 0.7, 0.8, more=True, digits=2),
)


def judged(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Return the measured rows with their verdicts."""
    found = []
    for row in ROWS:
        if row.part in measured:
            value = float(row.value(measured[row.part]))
            least, aim = row.bounds()
            found.append(
                {"figure": row.title, "value": value, "shown": row.show(value), "at_least": least, "aim": aim,
                 "verdict": row.verdict(value)}
            )  # fmt: skip
    return found


def text(measured: Mapping[str, Measured]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| figure | measured | at least | aim | met |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['figure']} | {one['shown']} | {one['at_least']} | {one['aim']} | {one['verdict']} |"
        for one in judged(measured)
    ]
    return "\n".join(lines)


COLUMNS = {
    FLAC: "CPU s/h, FLAC",
    WAV: "CPU s/h, WAV",
    "files_per_s": "files of 10 s a second",
    "live": "live sessions on a core, FLAC",
    "kb": "KB a session, FLAC",
}


def beside(measured: Mapping[str, Measured]) -> str:
    """Return the comparison with other clients as a Markdown table, or "" if no other client was measured."""
    ways: dict[str, dict[str, Any]] = {"stt-batch": _ours(measured)}
    for part in ("beside-loop", "beside", "beside-live"):
        for way, found in measured.get(part, {}).items():
            ways.setdefault(way, {}).update(found)
    columns = [column for column in COLUMNS if any(column in found for found in ways.values())]
    lines = [f"| way | {' | '.join(COLUMNS[column] for column in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for way, found in ways.items():
        lines.append(f"| {way} | {' | '.join(_cell(found.get(column)) for column in columns)} |")
    return "\n".join(lines) if len(ways) > 1 else ""


def _ours(measured: Mapping[str, Measured]) -> dict[str, Any]:
    found: dict[str, Any] = {name: cost["s_per_h"] for name, cost in measured.get("whole", {}).items()}
    places = {"files_per_s": ("jobs", "files_per_s"), "live": ("live-flac", "most")}
    found |= {column: measured[part][key] for column, (part, key) in places.items() if part in measured}
    if "session" in measured:
        found["kb"] = measured["session"][FLAC]["kb"]
    return found


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
