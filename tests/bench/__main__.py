"""`python -m tests.bench [--short] [--json FILE] [--only PART]...`: see the package."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import machine, table
from tests.bench.parts import Bench
from tests.bench.say import say

PARTS = (
    *("whole", "live-flac", "live-wav", "session", "memory", "hour", "tail", "start", "jobs", "plan"),
    *("beside", "beside-live"),
)
SHORT = ("whole", "session", "memory", "tail", "start", "jobs", "beside")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="less of each, and not all parts: gross changes show")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there, beside those of other parts"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="some parts")
    parser.add_argument("--folder", type=Path, help="keep the audio there")
    arguments = parser.parse_args()
    described = machine.describe()
    say(f"{described['cpu']}, {described['cores']} cores, load {described['load']}, Python {described['python']}")
    measured: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():  # parts measured before, on the same machine
        before = json.loads(arguments.json.read_text(encoding="utf-8"))
        if before["short"] == arguments.short and before["machine"]["cpu"] == described["cpu"]:
            measured = before["measured"]
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        bench = Bench(arguments.folder or Path(folder), measured, short=arguments.short)
        for part in arguments.only or (SHORT if arguments.short else PARTS):
            work: Callable[[], dict[str, Any]] = getattr(bench, part.replace("-", "_"))
            measured[part] = work()
            if arguments.json:
                described["load_after"] = machine.describe()["load"]
                result = {
                    "machine": described,
                    "short": arguments.short,
                    "rows": table.judged(measured),
                    "measured": measured,
                }
                arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    say("\n" + table.text(measured))
    if "beside" in measured:
        say("\n" + table.beside(_ways(measured)))


def _ways(measured: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The ways beside each other, whatever of them was measured."""
    ways: dict[str, dict[str, Any]] = {way: dict(found) for way, found in measured["beside"].items()}
    for way, found in measured.get("beside-live", {}).items():
        ways.setdefault(way, {}).update(found)
    return ways


if __name__ == "__main__":
    main()
