"""The commands, hooks, templates and editor settings that CONTRIBUTING.md and the other files for contributors name
exist."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from pre_commit.clientlib import load_config

from tasks.cli import main

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TASKS: dict[str, Any] = PROJECT["tool"]["poe"]["tasks"]
PUBLIC = [name for name in TASKS if not name.startswith("_")]
GATE = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
FULL_GATE = (ROOT / ".ci" / "full").read_text(encoding="utf-8")
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FORMS = [path for path in TEMPLATES if path.name != "config.yml"]


def commands() -> dict[str, str]:
    """Each single command of the task runner, with its name."""
    found = {name: task if isinstance(task, str) else task.get("cmd", "") for name, task in TASKS.items()}
    return {name: command for name, command in found.items() if command}


# -- task runner -------------------------------------------------------------------------------------------------------


def test_every_area_of_the_unit_tests_has_a_command() -> None:
    areas = {path.name for path in (ROOT / "tests" / "unit").iterdir() if (path / "__init__.py").exists()} - {"support"}
    assert {
        name for name in TASKS if TASKS[name] and f"tests/unit/{name.removeprefix('test-')}" in str(TASKS[name])
    } == {f"test-{area}" for area in areas}


def test_every_command_is_described() -> None:
    for name in PUBLIC:
        assert TASKS[name]["help"], name
        assert re.search(rf"`(?:poe )?{name}`", TEXT) or name in ("lint", "format-check", "types", "spelling"), name


def test_every_command_in_the_text_exists() -> None:
    named = re.findall(r"(?:`|bin/)poe ([a-z-]+)", TEXT)
    assert len(named) > 10
    assert set(named) <= set(PUBLIC)


def test_every_command_runs_something_that_exists() -> None:
    known = {"pytest", "ruff", "mypy", "codespell_lib", "mkdocs"}
    for name, command in commands().items():
        words = command.split()
        if words[:2] == ["python", "-m"]:
            module = words[2].replace(".", "/")
            found = (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists()
            assert words[2] in known or found, name
        else:
            assert words[0] == "pre-commit" or (ROOT / words[0]).exists(), name
        paths = [word for word in words if word.startswith("tests/")]
        assert [path for path in paths if not (ROOT / path).exists()] == [], name


def test_a_sequence_runs_commands_that_exist() -> None:
    sequences = {name: task["sequence"] for name, task in TASKS.items() if "sequence" in task}
    assert {"check", "coverage", "docs"} <= set(sequences)
    assert {part for parts in sequences.values() for part in parts} <= set(TASKS)


def test_one_command_leads_from_a_clone_to_the_unit_tests() -> None:
    block = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0]
    assert block.strip().endswith(".venv/bin/poe test-unit")
    extras = re.findall(r"'\.\[(.*?)\]'", block)[0].split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert any(line.startswith("poethepoet") for line in PROJECT["project"]["optional-dependencies"]["unit"])


# -- static checks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["ruff check", "ruff format --check", "mypy", "codespell"])
def test_hooks_commands_and_both_gates_run_the_same_static_checks(check: str) -> None:
    hooks = [
        str(hook["entry"])
        for repo in load_config(str(ROOT / ".pre-commit-config.yaml"))["repos"]
        for hook in repo["hooks"]
    ]
    assert any(f".venv/bin/python -m {check}" in hook for hook in hooks)
    assert any(check in command for command in commands().values())
    assert f".ci/.venv/bin/{check}" in GATE
    assert f"{{BIN}}/{check}" in FULL_GATE


# -- editor ------------------------------------------------------------------------------------------------------------


def test_the_editor_settings_agree_with_the_formatter() -> None:
    text = (ROOT / ".editorconfig").read_text(encoding="utf-8")
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + text)
    assert parser["top"]["root"] == "true"
    assert parser["*"]["max_line_length"] == str(PROJECT["tool"]["ruff"]["line-length"])
    assert (parser["*"]["indent_style"], parser["*"]["indent_size"]) == ("space", "4")


# -- issue templates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_complete(path: Path) -> None:
    """The form has the fields that GitHub requires. GitHub does not show a form with an error."""
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert all(part["type"] in ("textarea", "input", "dropdown", "checkboxes") for part in fields)
    assert all(part["attributes"]["label"] for part in fields)
    ids = [part["id"] for part in fields]
    assert len(ids) == len(set(ids)) > 1


def test_the_commands_in_issue_forms_exist() -> None:
    assert {"bug", "feature"} <= {path.stem for path in FORMS}
    assert isinstance(main, click.Group)
    used = re.findall(r"`stt-batch (\S+?)(?: (--\S+?))?`", " ".join(path.read_text("utf-8") for path in FORMS))
    assert used
    for name, option in used:
        command = main if name.startswith("--") else main.get_command(click.Context(main), name)
        assert command is not None, name
        known = {text for parameter in command.params for text in parameter.opts}
        assert {name if name.startswith("--") else option} <= known | {""}


def test_a_vulnerability_is_not_reported_in_an_issue() -> None:
    assert "SECURITY.md" in (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_a_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()
