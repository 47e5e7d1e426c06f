"""Summarizes a coverage report by area, and writes the table into CONTRIBUTING.md.

    python -m tests.support.coverage_table build/coverage.json      after `pytest --cov --cov-report=json:…`

An area is a package directly below `worker` or `tasks`; their modules form the areas `worker` and `tasks`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
BEGIN = "<!-- coverage: made by poe coverage -->"
END = "<!-- end of coverage -->"


def area(path: str) -> str:
    """Return the area of a source file: `worker/audio/mixing.py` belongs to `worker/audio`."""
    return "/".join(Path(path).parts[:-1][:2])


def table(report: Mapping[str, Any]) -> str:
    """Return a Markdown table of the statements of each area, and the share of them that ran."""
    statements: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for path, file in report["files"].items():
        for name in (area(path), "all"):
            statements[name] += file["summary"]["num_statements"]
            covered[name] += file["summary"]["covered_lines"]
    rows = ["| area | statements | covered by unit tests |", "| --- | --- | --- |"]
    for name in [*sorted(statements.keys() - {"all"}), "all"]:
        share = 100 * covered[name] / statements[name] if statements[name] else 100.0
        rows.append(f"| {name} | {statements[name]:,} | {share:.0f} % |")
    return "\n".join(rows)


def with_table(page: str, rows: str) -> str:
    """Return the text of a page with the table between the comments `BEGIN` and `END` replaced by `rows`."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{rows}\n{END}{tail}"


if __name__ == "__main__":
    rows = table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    sys.stdout.write(rows + "\n")
