"""Each command's help ends with examples and the page of the documentation, which exists."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from tasks.cli import main
from tasks.cli.command_names import COMMANDS
from tasks.cli.help_pages import PAGES
from tests.support.readme import SITE


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples_and_a_page(command: str) -> None:
    text = CliRunner().invoke(main, [command, "--help"], prog_name="stt-batch").stdout
    end = text.partition("Options:")[2]
    examples = re.split(r"\n  Examples?:\n", end)[1]
    assert f"stt-batch {command}" in examples
    assert text.rstrip().splitlines()[-1] == f"  Documentation: docs/{PAGES[command]}"


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_the_page_and_its_heading_exist(page: str) -> None:
    file, _, anchor = page.partition("#")
    headings = re.findall(r"^#+ (.+)$", (SITE / file).read_text("utf-8"), flags=re.MULTILINE)
    assert not anchor or anchor in {re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings}


def test_the_help_of_studio_names_the_page_about_it() -> None:
    assert "stt-batch studio" in (SITE / PAGES["studio"].partition("#")[0]).read_text("utf-8")
    assert set(PAGES) == set(COMMANDS)
