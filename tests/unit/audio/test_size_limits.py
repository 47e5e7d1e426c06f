"""Settings of a worker limit the length and the number of channels of a source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tasks.cli import main
from tests.support.audiofiles import write_signal
from worker.errors import SourceRefused
from worker.pipeline.planning_thread import open_planned
from worker.settings import load


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, (int(seconds * 8000), channels))


@pytest.mark.parametrize(
    ("channels", "seconds", "limits", "says"),
    [
        (3, 1, {"source_max_channels": 2}, r"has 3 channels, more than 2 \(STT_SOURCE_MAX_CHANNELS\)"),
        (1, 8, {"source_max_hours": 0.002}, r"is longer than 0\.002 hours \(STT_SOURCE_MAX_HOURS\)"),
    ],
)
async def test_a_source_above_the_limits_is_refused_by_its_header(
    tmp_path: Path, channels: int, seconds: float, limits: dict[str, float], says: str
) -> None:
    path = write_signal(tmp_path / "a.wav", noise(seconds, channels), 8000)
    with pytest.raises(SourceRefused, match=says):
        await open_planned(path, load({}, **limits), 4, False, None)
    (await open_planned(path, load({}), 4, False, None)).close()


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"STT_SOURCE_MAX_CHANNELS": "2"}, "has 3 channels, more than 2 (STT_SOURCE_MAX_CHANNELS)"),
        ({"STT_SOURCE_MAX_HOURS": "0.0002"}, "is longer than 0.0002 hours (STT_SOURCE_MAX_HOURS)"),
    ],
)
def test_a_plan_refuses_what_a_job_would(tmp_path: Path, limit: dict[str, str], says: str) -> None:
    path = write_signal(tmp_path / "a.wav", noise(1, channels=3), 8000)
    (failed,) = json.loads(CliRunner().invoke(main, ["plan", str(path), "--json"], env=limit).stdout)["failing_sources"]
    assert says in failed["error"]
