"""README.md and the documentation agree with the code."""

from __future__ import annotations

import json
import re
from typing import get_args

import click

from tasks.cli import main
from tests.support import readme, reference_pages
from worker.ledger.event_stream import Event
from worker.settings import SECRET_SETTINGS, Settings
from worker.transcript.formats import FORMATS
from worker.transcript.model import Transcript

TEXT = readme.text()


def test_the_reference_pages_are_current() -> None:
    for path, expected in reference_pages.pages().items():
        assert path.read_text(encoding="utf-8") == expected, f"update {path.name} with: {reference_pages.COMMAND}"


def test_every_event_is_described() -> None:
    assert set(reference_pages.EVENTS) == set(get_args(Event))


def test_the_readme_is_short() -> None:
    assert len(readme.README.read_text(encoding="utf-8").splitlines()) <= 250


def test_every_variable_in_the_readme_exists() -> None:
    known = {f"STT_{name.upper()}" for name in Settings.model_fields} | {"STT_TEST_AUDIO", "STT_CONFIG"}
    known |= {f"STT_{name.upper()}_FILE" for name in SECRET_SETTINGS}
    assert set(re.findall(r"\bSTT_[A-Z0-9_]+", TEXT)) <= known


def test_every_command_and_option_in_the_readme_exists() -> None:
    assert isinstance(main, click.Group)
    # Only inline code and code blocks: in prose, the word after `stt-batch` is no command.
    blocks = re.findall(r"```(?:sh|text)\n(.*?)```|(`[^`\n]+`)", TEXT, re.DOTALL)
    code = "\n".join("".join(found) for found in blocks)
    lines = re.findall(r"stt-batch ([a-z]+)([^\n`#|]*)", code)
    assert len(lines) > 5
    for name, rest in lines:
        command = main.get_command(click.Context(main), name)
        assert command is not None, f"README names `stt-batch {name}`"
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = set(re.findall(r"(?<=\s)--[a-z][a-z-]*", rest))
        assert used <= known | {"--help"}, f"README: stt-batch {name}{rest}"


def test_every_format_is_documented() -> None:
    for fmt in FORMATS:
        assert re.search(rf"\b{fmt}\b", TEXT, re.IGNORECASE)


def test_the_example_transcript_is_current() -> None:
    (excerpt,) = (block for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL) if '"schema_version"' in block)
    document = json.loads(excerpt)
    assert set(document) <= set(Transcript.model_fields)
    assert {"segments", "source", "language", "schema_version"} <= set(document)
    assert Transcript.model_validate(document).segments[0].words


def test_links_of_the_readme_are_valid() -> None:
    """MkDocs checks the links between the pages of the site."""
    targets = re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", readme.README.read_text("utf-8"))
    assert targets
    assert [target for target in targets if not (readme.ROOT / target).exists()] == []


def test_the_errors_in_the_readme_exist_in_the_code() -> None:
    """For each error in the table, its longest part without a placeholder must be a text in the code."""
    root = readme.ROOT
    paths = [
        path for part in ("worker", "tasks") for path in (root / part).rglob("*") if path.suffix in (".py", ".lua")
    ]
    # A text of the code may be split at the end of a line.
    code = re.sub(r'"\s*f?"', "", " ".join(path.read_text(encoding="utf-8") for path in paths))
    table = TEXT[TEXT.index("| message | remedy |") :].split("\n\n")[0]
    said = [text for row in table.splitlines()[2:] for text in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    assert len(said) > 30
    of_python = {
        "The virtual environment was not created successfully because ensurepip is not available",
        "cannot import name 'submit' from 'tasks'",
    }
    pieces = {max(re.split("…", text), key=len).strip(" :;.,()") for text in said if text not in of_python}
    assert not {piece for piece in pieces if piece not in code}
