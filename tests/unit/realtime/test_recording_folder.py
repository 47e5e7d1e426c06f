"""An unusable STT_RECORD_DIR is found before the first session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.doctor import of_settings
from tasks.doctor.finding import Status
from worker.realtime.recording_folder import folder_problem
from worker.settings import load


def test_a_usable_folder_is_created_and_stays_empty(tmp_path: Path) -> None:
    settings = load({}, record_dir=str(tmp_path / "new" / "records"))
    assert folder_problem(settings) is None
    assert list((tmp_path / "new" / "records").iterdir()) == []
    assert folder_problem(load({})) is None


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none", "/dev/null/x", "a\0b", "x" * 300])
def test_an_unusable_folder_is_named_with_the_remedy(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    settings = load({}, record_dir=place if place.startswith("/") else str(tmp_path / place))
    problem = folder_problem(settings)
    assert problem is not None
    assert problem.startswith("STT_RECORD_DIR: sessions cannot be recorded in ")
    assert "name a folder that this user may write" in problem
    assert [one for one in of_settings(settings, {}) if one.status is Status.FAIL and one.text == problem]
