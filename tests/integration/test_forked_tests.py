"""The forks that run the default suite: every test is reported once, whatever it does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.support.forked_tests import ForkedTests

def pytest_configure(config):
    config.pluginmanager.register(ForkedTests(2))
"""
MODULES = {
    "test_ends.py": """
import os, pytest, warnings
from pathlib import Path

@pytest.mark.parametrize("number", range(5))
def test_passes(number, tmp_path): (tmp_path / "x").touch()
def test_warns(): warnings.warn("a warning of a test")
def test_fails():
    print("text before the failure")
    assert 1 + 1 == 3
def test_crashes(): os._exit(7)
def test_after_the_crash(): pass
@pytest.mark.skip(reason="a reason")
def test_is_skipped(): pass
@pytest.fixture
def broken():
    yield
    raise ValueError("after the test")
def test_with_an_error(broken): pass
""",
    "test_fixtures.py": """
import os, pytest
from pathlib import Path
STARTS = Path(__file__).with_name("starts")

@pytest.fixture(scope="module")
def server():
    with STARTS.open("a") as file: file.write("start\\n")
    yield os.getpid()
    with STARTS.open("a") as file: file.write("end\\n")

@pytest.mark.parametrize("number", range(3))
def test_uses_the_server(server, number): assert server == os.getpid()
""",
}


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    for name, text in MODULES.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--rootdir", str(folder), "-ra", *options, str(folder)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_test_is_reported_once(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 11 passed, 1 skipped, 1 warning, 1 error in" in done.stdout
    for line in (
        r"FAILED \S*test_ends.py::test_fails - assert \(1 \+ 1\) == 3",
        r"FAILED \S*test_ends.py::test_crashes - the test process ended with exit code 7",
        r"ERROR \S*test_ends.py::test_with_an_error - ValueError: after the test",
        r"SKIPPED \[1\] \S*test_ends.py:\d+: a reason",
        r"(?m)^text before the failure$",
        "UserWarning: a warning of a test",
    ):
        assert len(re.findall(line, done.stdout)) == 1, (line, done.stdout)
    assert (tmp_path / "starts").read_text() == "start\nend\n"


@pytest.mark.parametrize("options", [("-x",), ("--maxfail=1", "-v")], ids=" ".join)
def test_the_run_ends_after_the_first_failure(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run(tmp_path, *options)
    assert done.returncode == 1
    assert "stopping after 1 failures" in done.stdout
    assert "1 failed" in done.stdout
    assert "test_crashes" not in done.stdout
