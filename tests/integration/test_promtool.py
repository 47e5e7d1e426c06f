"""Prometheus itself reads its configuration and every query of the alerts and the dashboard."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_deploy import DEPLOY, queries


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:  # an image of CI that has Debian's package has it
        pytest.skip("Prometheus is not installed (Debian: apt install prometheus)")
    return found


def test_prometheus_reads_its_files(promtool: str) -> None:
    answer = subprocess.run(
        [promtool, "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_prometheus_reads_every_query(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    answer = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
