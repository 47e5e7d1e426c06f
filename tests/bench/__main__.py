"""Command line of the benchmark: `python -m tests.bench [--short] [--json FILE] [--only PART]...`."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import machine, table
from tests.bench.parts import Bench
from tests.bench.say import say

PARTS = (
    *("whole", "codecs", "frame", "live-flac", "live-wav", "session", "memory", "hour", "tail", "start"),
    *("jobs", "plan", "help", "first", "rerun", "recognize", "recognize-hour", "follow", "queue"),
    *("beside", "beside-live"),
)
FOR_THE_GATE = ("beside-loop",)  # a part of `beside`
SHORT = (
    "whole",
    "codecs",
    "frame",
    "session",
    "memory",
    "tail",
    "start",
    "jobs",
    "help",
    "first",
    "rerun",
    "follow",
    "queue",
    "beside",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="less of each, and not all parts: gross changes show")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there, beside those of other parts"
    )
    parser.add_argument("--only", action="append", choices=(*PARTS, *FOR_THE_GATE), help="some parts")
    parser.add_argument("--folder", type=Path, help="keep the audio there")
    arguments = parser.parse_args()
    result = _before(arguments.json, machine.describe(), short=arguments.short)
    described, measured = result["machine"], result["measured"]
    say(f"{described['cpu']}, {described['cores']} cores, Python {described['python']}")
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        bench = Bench(arguments.folder or Path(folder), short=arguments.short)
        for part in arguments.only or (SHORT if arguments.short else PARTS):
            work: Callable[[], dict[str, Any]] = getattr(bench, part.replace("-", "_"))
            load, began = machine.load(), time.monotonic()
            measured[part] = work()
            result["runs"][part] = {"load_before": load, "seconds": round(time.monotonic() - began, 1)}
            result["rows"] = table.judged(measured)
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    say("\n" + table.text(measured))
    if beside := table.beside(measured):
        say("\n" + beside)
    if arguments.short:
        say("\nshort form: shorter and fewer files than the figures are meant for")


def _before(path: Path | None, described: dict[str, Any], *, short: bool) -> dict[str, Any]:
    """Return the earlier result in the file `path`, so that the parts can be run one by one. The result is only used if
    it was measured in the same form, on the same machine and with the same libraries."""
    if path is not None and path.exists():
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if before["short"] == short and before["machine"] == described:
            return before
    return {"machine": described, "short": short, "rows": [], "runs": {}, "measured": {}}


if __name__ == "__main__":
    main()
