"""Finds the files `stt-batch.toml`: that of the user, and that of the project around the current folder.

`stt-batch health` runs every few seconds, so this module only looks for the files and does not load what reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

NAME: Final = "stt-batch.toml"
VARIABLE: Final = "STT_CONFIG"
"""Environment variable with the path of the user's file; `none`: read no file, also not that of a project."""


def user_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the user's file, whether it exists or not."""
    named = environ.get(VARIABLE)
    return Path(named) if named else Path(click.get_app_dir("stt-batch")) / NAME


def project_file(folder: Path) -> Path | None:
    """Return the file in `folder`, or in the nearest folder above it, or None if there is none."""
    for place in (folder, *folder.parents):
        if is_file(place / NAME):
            return place / NAME
    return None


def existing_files(environ: Mapping[str, str]) -> list[tuple[Path, bool]]:
    """Return the user's file and the project's file, if they exist, each with whether it is that of a project. A file
    that STT_CONFIG names is returned even if it does not exist."""
    if environ.get(VARIABLE) == "none":
        return []
    user = user_file(environ)
    found = [(user, False)] if environ.get(VARIABLE) or is_file(user) else []
    try:
        project = project_file(Path.cwd())
    except OSError:  # the current folder was deleted
        project = None
    if project is not None and not (found and _same(project, user)):
        found.append((project, True))
    return found


def is_file(path: Path) -> bool:
    """Whether a file exists. False in a folder without permission, where Path.is_file raises an error."""
    return os.path.isfile(path)  # noqa: PTH113


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
