"""Every code block of every page is valid: Python compiles, commands and options exist, JSON parses.

A block in a language that runs is executed by a test, or is marked with the reason why not:

    <!-- run by: tests/integration/test_NAME.py -->     that test reads the page
    <!-- not run: needs an account at that service -->

README.md and the tutorial need no mark: tests/integration/test_documentation.py runs them in order.
"""

from __future__ import annotations

import ast
import csv
import importlib
import json
import re
import tomllib
from importlib.util import find_spec
from typing import Any

import click
import pytest

from tasks.cli import main
from tests.support import readme
from tests.support.readme import CodeBlock, code_blocks, shell_commands

PAGES = [*readme.pages(), readme.ROOT / "CONTRIBUTING.md", readme.ROOT / "SECURITY.md"]
BLOCKS = [block for page in PAGES for block in code_blocks(page)]
RUN_IN_ORDER = (readme.README, readme.SITE / "tutorial.md")
EXECUTABLE = {"sh", "python", "js", "go"}
DATA = {"text", "json", "csv", "ini"}
PROJECT: dict[str, Any] = tomllib.loads((readme.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def of(*languages: str) -> list[CodeBlock]:
    return [block for block in BLOCKS if block.language in languages]


def test_every_fence_is_found() -> None:
    """A block that the pattern misses would be checked by nothing."""
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(list(code_blocks(page))), page


def test_a_block_names_its_language() -> None:
    assert [str(block) for block in BLOCKS if block.language not in EXECUTABLE | DATA] == []


@pytest.mark.parametrize("block", of(*EXECUTABLE), ids=str)
def test_a_block_is_run_or_names_the_reason_why_not(block: CodeBlock) -> None:
    if block.mark == "run by":
        test = readme.ROOT / block.reason
        assert test.is_file(), block.reason
        # A test that reads no page cannot run the block as the page shows it.
        assert re.search(r"readme\.|docs", test.read_text(encoding="utf-8")), f"{block.reason} reads no page"
    elif block.mark == "not run":
        assert len(block.reason.split()) >= 2, "the reason is missing"
        for name in re.findall(r"tests/\S+\.py", block.reason):
            assert (readme.ROOT / name).is_file(), name
    else:
        assert block.page in RUN_IN_ORDER or block.page.name == "CONTRIBUTING.md", "neither run nor marked"
        assert block.language == "sh"


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_compiles_and_its_imports_exist(block: CodeBlock) -> None:
    tree = ast.parse(block.code)
    compile(tree, str(block), "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                assert find_spec(name.name), name.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            # Other packages are only looked up: the import of some of them opens a socket.
            assert find_spec(node.module.split(".")[0]), node.module
            if node.module.split(".")[0] not in ("tasks", "worker"):
                continue
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_parses(block: CodeBlock) -> None:
    json.loads(block.code)


@pytest.mark.parametrize("block", of("csv"), ids=str)
def test_csv_has_a_value_for_each_column(block: CodeBlock) -> None:
    head, *rows = csv.reader(block.code.splitlines())
    assert rows
    assert {len(row) for row in rows} == {len(head)}


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_commands_options_and_extras_exist(block: CodeBlock) -> None:
    for words in shell_commands(block.code):
        if words[0].rpartition("/")[2] == "stt-batch":
            parse(words[1:])
        if "pip" in " ".join(words[:2]) and "install" in words:
            for extra in re.findall(r"\.\[(.+?)\]", " ".join(words)):
                assert set(extra.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
        if words[0].rpartition("/")[2] == "poe":
            assert words[1] in PROJECT["tool"]["poe"]["tasks"]
        if "-m" in words and (module := words[words.index("-m") + 1]).startswith("tests."):
            importlib.import_module(module)


def parse(words: list[str]) -> None:
    """Parse a command line of stt-batch as Click does, without running it. Raises UsageError."""
    assert isinstance(main, click.Group)
    command = main.get_command(click.Context(main), words[0])
    if words[0].startswith("-"):
        main.make_context("stt-batch", [*words], resilient_parsing=True)
        return
    assert command is not None, f"no such command: {words[0]}"
    # Paths of an example do not exist here.
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    command.make_context(words[0], words[1:])
