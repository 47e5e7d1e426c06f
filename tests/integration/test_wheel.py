"""A built wheel contains every file that the packages need besides their Python modules."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """Build the wheel from a copy of the project, because the build writes files into the project folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("worker", "tasks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(source)]
    if Version(version("setuptools")).major >= 77:  # as the build needs; otherwise pip installs it in a temporary place
        command.append("--no-build-isolation")
    subprocess.run(command, check=True, timeout=100)
    (path,) = target.glob("*.whl")
    return zipfile.Path(path)


def test_a_wheel_contains_all_files_of_the_packages(wheel: zipfile.Path) -> None:
    contents = set(wheel.root.namelist())
    packages = [path for name in ("worker", "tasks") for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in packages if "__pycache__" not in path.parts}
    assert expected - contents == set()
    assert {"worker/py.typed", "tasks/py.typed"} <= contents


def test_a_wheel_has_the_version_of_the_project(wheel: zipfile.Path) -> None:
    number = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    metadata = wheel.joinpath(f"stt_batch-{number}.dist-info", "METADATA").read_text(encoding="utf-8")
    assert f"\nVersion: {number}\n" in metadata
