"""The version number is the same everywhere, and the changelog is ready for a release."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_file_names_the_same_version() -> None:
    found = re.findall(r"^ARG VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found += [number for page in pages for number in re.findall(r'"stt-batch": "([0-9.]+)"', page.read_text("utf-8"))]
    assert len(found) > 1
    assert set(found) == {VERSION}


def test_the_changelog_has_a_section_for_this_version() -> None:
    """The newest numbered section is this version. Sections are in descending order, each with its date."""
    headings = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", CHANGELOG, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    numbers = [Version(number) for number, _ in headings[1:]]
    days = [date.fromisoformat(day) for _, day in headings[1:]]
    assert numbers[0] == Version(VERSION)
    assert numbers == sorted(numbers, reverse=True)
    assert days == sorted(days, reverse=True)


def test_every_section_groups_its_entries_by_kind() -> None:
    for section in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        assert len(kinds) == len(set(kinds)), section.splitlines()[0]
