from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tasks.doctor.storage import check_open_files
from worker.open_files_limit import RESERVED_FILES, limit_warning, needed_files, raise_limit
from worker.settings import load


@pytest.fixture(autouse=True)
def limit() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_the_hard_limit(limit: tuple[int, int]) -> None:
    assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == limit[1]
    assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0], "a second time changes nothing"


def test_a_limit_that_cannot_be_raised_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == 256
    finding = check_open_files(load({}, worker_sessions=500))
    assert finding.status == "warn"
    assert finding.text == f"the limit of open files is 256, and 500 sessions need about {needed_files(500)}"
    assert check_open_files(load({}, worker_sessions=8)).status == "ok"


def test_the_warning_names_the_possible_number_of_sessions() -> None:
    text = limit_warning(128, 100)
    assert text is not None
    assert "STT_WORKER_SESSIONS=21" in text
    assert needed_files(21) <= 128 < needed_files(22)
    assert limit_warning(RESERVED_FILES, 1) is not None
    assert limit_warning(needed_files(100), 100) is None
    assert limit_warning(None, 2000) is None
