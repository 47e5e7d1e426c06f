"""A process from the fork server behaves as `python -P -m MODULE` does: output, environment, exit code, signals."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.forked_process import ROOT, ForkedProcess, start_process
from tests.support.wait import wait_until


class Modules:
    """Writes source code to a module and runs it in a new process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"

    def start(self, text: str, *arguments: str, **environment: str) -> ForkedProcess:
        (self.folder / "module_of_a_test.py").write_text(text)
        return start_process(
            "module_of_a_test", *arguments, env={"PYTHONPATH": str(self.folder), **environment}, log=self.log
        )


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    return Modules(tmp_path)


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("sys.exit(3)", 3), ("sys.exit('a reason')", 1), ("raise KeyError('a bug')", 1), ("os._exit(7)", 7)],
)
def test_the_exit_code_is_that_of_a_python_process(modules: Modules, ending: str, code: int) -> None:
    process = modules.start(f"import atexit, os, sys\natexit.register(print, 'at the end')\n{ending}")
    assert process.wait(20) == code
    assert process.poll() == code
    text = modules.log.read_text()
    assert ("at the end" in text) == ("_exit" not in ending)
    assert ("a reason" in text, "KeyError: 'a bug'" in text) == ("reason" in ending, "a bug" in ending)


def test_arguments_environment_folder_and_output(modules: Modules) -> None:
    text = "import os, sys\nprint(__name__, sys.argv[1:], dict(os.environ), os.getcwd())\nprint('e', file=sys.stderr)"
    process = modules.start(text, "a", "--b=c", NAME="value")
    assert process.wait(20) == 0
    environment = {"PYTHONPATH": str(modules.folder), "NAME": "value"}
    assert sorted(modules.log.read_text().splitlines()) == sorted(
        [f"__main__ ['a', '--b=c'] {environment} {ROOT}", "e"]
    )


def test_standard_error_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "module_of_a_test.py").write_text("import os, sys\nprint(os.getcwd())\nprint('e', file=sys.stderr)")
    log, errors = tmp_path / "log", tmp_path / "errors"
    process = start_process(
        "module_of_a_test", env={"PYTHONPATH": str(tmp_path)}, log=log, errors=errors, folder=tmp_path
    )
    assert process.wait(20) == 0
    assert (log.read_text(), errors.read_text()) == (f"{tmp_path}\n", "e\n")


def test_none_of_our_modules_is_loaded_before_the_fork(modules: Modules) -> None:
    text = (
        "import sys\nprint([n for n in sys.modules if n.split('.')[0] in ('tasks', 'worker')], 'celery' in sys.modules)"
    )
    assert modules.start(text).wait(20) == 0
    assert modules.log.read_text() == "[] True\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_it(modules: Modules, number: signal.Signals) -> None:
    process = modules.start("import time\nprint('ready', flush=True)\ntime.sleep(60)")
    wait_until(lambda: modules.log.exists() and "ready" in modules.log.read_text(), "it runs", timeout_s=20)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(20) == -number
    process.kill()  # does nothing


def test_two_at_once_end_each_for_itself(modules: Modules) -> None:
    text = "import sys, time\ntime.sleep(float(sys.argv[1]))\nsys.exit(4)"
    long, short = modules.start(text, "60"), modules.start(text, "0")
    assert short.wait(20) == 4
    assert long.poll() is None
    long.kill()
    assert long.wait(20) == -signal.SIGKILL
