"""The benchmark's short form: a gross change of what streaming costs, told by ratios measured in one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
# About twice what is measured on a quiet machine: ratios hold on a busy one, but not exactly.
MOST = {"44.1 kHz stereo FLAC": 2.0, "16 kHz mono WAV": 12.0}


def short(tmp_path: Path, *parts: str) -> dict[str, Any]:
    only = [argument for part in parts for argument in ("--only", part)]
    command = [sys.executable, "-m", "tests.bench", "--short", "--json", tmp_path / "found.json", *only]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
    measured: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())["measured"]
    return measured


@pytest.mark.timeout(300)
def test_the_whole_path_costs_little_more_than_its_stages(tmp_path: Path) -> None:
    found = short(tmp_path, "whole", "naive")
    for name, most in MOST.items():
        assert found["whole"][name]["ratio"] < most, found["whole"][name]
        assert found["whole"][name]["s_per_h"] < 0.7 * found["naive"][f"{name}, async"]
