"""The project file and the tested versions agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = {
    canonicalize_name(line.partition("==")[0]): line.partition("==")[2]
    for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
}
TESTED = [*PROJECT["dependencies"], *(r for name in ("local", "test") for r in PROJECT["optional-dependencies"][name])]


@pytest.mark.parametrize("line", TESTED)
def test_a_dependency_is_pinned_within_its_bounds(line: str) -> None:
    requirement = Requirement(line)
    tested = CONSTRAINTS.get(canonicalize_name(requirement.name))
    assert tested, f"{requirement.name} is missing in .ci/constraints.txt"
    assert requirement.specifier.contains(tested), f"{tested} was tested, {line} is asked for"


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["media"]])
def test_a_dependency_has_both_bounds(line: str) -> None:
    operators = {specifier.operator for specifier in Requirement(line).specifier}
    assert {">=", "<"} <= operators, line


def test_the_command_is_named_as_the_readme_says() -> None:
    assert PROJECT["scripts"] == {"stt-batch": "tasks.cli:entry"}
