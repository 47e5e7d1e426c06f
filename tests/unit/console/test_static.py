"""The files of the page: small, complete, and without inline scripts, markup from text, or other servers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tasks.console.browser_guard import POLICY

STATIC = Path(__file__).resolve().parents[3] / "tasks" / "console" / "static"
FILES = sorted(path for path in STATIC.iterdir())
MAX_BYTES = 200_000


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < MAX_BYTES


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or "style" in given or (tag == "script" and "src" not in given):
            self.wrong.append(tag)
        self.wrong += [name for name in given if name.startswith("on")]


def test_the_document_has_no_inline_scripts_or_styles() -> None:
    parser = _Elements()
    parser.feed((STATIC / "index.html").read_text("utf-8"))
    assert parser.wrong == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_scripts_never_make_markup_or_code_of_text(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.findall(
        r"(?:inner|outer)HTML\s*\+?=[^=]|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|setHTML"
        r"|DOMParser|createContextualFragment",
        text,
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_another_server(path: Path) -> None:
    addresses = set(re.findall(r"(?<!s3:)(?:https?:)?//[a-z0-9][\w.-]+", path.read_text("utf-8")))
    assert addresses <= {"http://www.w3.org"}, addresses


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_each_imported_module_exists(path: Path) -> None:
    assert set(re.findall(r'from "\./([^"]+)"', path.read_text("utf-8"))) <= {one.name for one in FILES}


def test_the_policy_allows_only_this_server() -> None:
    assert "default-src 'none'" in POLICY
    assert "frame-ancestors 'none'" in POLICY
    assert not re.search(r"unsafe|data:|blob:|https?:|\*", POLICY)
