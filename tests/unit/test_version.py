"""Version numbers of installed distributions."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from worker.version import installed_version


def test_an_installed_distribution_has_a_version() -> None:
    assert installed_version("pydantic") == version("pydantic")
    assert installed_version() == version("stt-batch")


@pytest.mark.parametrize("name", ["not-a-distribution-of-ours", "stt_batch_gone"])
def test_a_missing_distribution_has_none(name: str) -> None:
    assert installed_version(name) is None
