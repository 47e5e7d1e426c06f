"""`.ci/full` runs the tests of every marker, and resumes with the parts that have not passed."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, imported as a module, with a separate state file."""
    loader = SourceFileLoader("ci_full", str(ROOT / ".ci" / "full"))
    spec = importlib.util.spec_from_loader("ci_full", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ci_full", module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "STATE", tmp_path / "state.json")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / module.BIN).mkdir(parents=True)
    (tmp_path / module.BIN / "pytest").touch()
    return module


def test_every_marker_that_the_default_suite_leaves_out_has_a_part(full: Any) -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    left_out = set(re.findall(r"not (\w+)", options))
    commands = " ".join(command for part in full.PARTS for command in part.commands)
    assert left_out == set(re.findall(r"-m (?!tests\.)(\w+)", commands))
    places = tuple(re.findall(r"-m chaos (\S+)", commands))
    files = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in ROOT.glob("tests/**/test_*.py")}
    chaos = [name for name, text in files.items() if re.search(r"\bmark\.chaos\b", text)]
    assert chaos
    assert [name for name in chaos if not name.startswith(places)] == []


def test_a_run_resumes_with_the_parts_that_have_not_passed(full: Any) -> None:
    first, second = full.PARTS[:2]
    state = full.State("tree")
    state.record(first, 1.0)
    state.record(second, None)
    assert full.chosen([], full.State.load("tree")) == list(full.PARTS[1:])


def test_another_commit_starts_from_the_beginning(full: Any) -> None:
    full.State("tree").record(full.PARTS[0], 1.0)
    assert full.chosen([], full.State.load("other")) == list(full.PARTS)


def test_a_named_part_runs_again(full: Any) -> None:
    state = full.State("tree")
    state.record(full.PARTS[2], 1.0)
    assert full.chosen([full.PARTS[2].name], state) == [full.PARTS[2]]


def test_a_missing_environment_is_created(full: Any) -> None:
    (full.ROOT / full.PYTEST).unlink()
    assert full.chosen([full.PARTS[2].name], full.State("tree")) == [full.PARTS[0], full.PARTS[2]]


def test_a_failed_part_is_no_longer_recorded_as_passed(full: Any) -> None:
    state = full.State("tree")
    state.record(full.PARTS[1], 1.0)
    state.record(full.PARTS[1], None)
    assert full.State.load("tree").passed == {}
