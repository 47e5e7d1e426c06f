"""The number of processor cores that a process may use, and the number of threads that depends on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.core_count import available_cores
from worker.server.recognizers import model_files
from worker.settings import load


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "99900000 100000"}, None),
        ({"cpu.max": "garbage"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_limit_of_a_container_counts(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert available_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def test_the_recognizer_has_a_thread_for_each_available_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whisper = pytest.importorskip("worker.server.recognizers.whisper")
    monkeypatch.setattr(whisper, "available_cores", lambda: 3)
    monkeypatch.setattr(whisper, "Whisper", lambda _folder, _model, _language, parallel, **_: parallel)
    monkeypatch.setattr(model_files, "find", lambda *_: tmp_path)
    assert whisper.load(load({})) == 3
    assert whisper.load(load({}, server_threads=5)) == 5
