"""The supervisor ends its command when the process that started it has ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.wait import wait_until

GUARD = Path(__file__).parents[3] / "tasks" / "embedded" / "supervisor.py"
# Prints its process id. With `stubborn`, it only prints a line on SIGTERM and continues to run.
COMMAND = """
import os, signal, sys, time
if {stubborn}: signal.signal(signal.SIGTERM, lambda *_: print("term", flush=True))
print(os.getpid(), flush=True)
while True: time.sleep(60)
"""


def start(grace_s: float = 5, orphan_s: float = 0, stubborn: bool = False) -> tuple[subprocess.Popen[str], int]:
    code = COMMAND.format(stubborn=stubborn)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(GUARD), str(grace_s), str(orphan_s), sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def say(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word)
    process.stdin.close()


@pytest.mark.parametrize("word", ["stop", ""])
def test_the_end_of_standard_input_ends_the_command(word: str) -> None:
    process, pid = start()
    say(process, word)
    assert process.wait(10) == 128 + signal.SIGTERM
    assert gone(pid)


def test_a_stubborn_command_is_killed_after_its_grace() -> None:
    process, pid = start(grace_s=0.3, stubborn=True)
    started = time.monotonic()
    say(process, "stop")
    assert process.wait(10) == 128 + signal.SIGKILL
    assert time.monotonic() - started >= 0.3
    assert process.stdout is not None
    assert process.stdout.read() == "term\n"
    assert gone(pid)


def test_kill_means_at_once() -> None:
    process, pid = start(grace_s=60, orphan_s=60, stubborn=True)
    say(process, "kill")
    assert process.wait(10) == 128 + signal.SIGKILL
    assert gone(pid)


def test_an_orphan_runs_on_for_some_time_but_a_stopped_command_does_not() -> None:
    process, _ = start(orphan_s=0.5)
    started = time.monotonic()
    say(process, "")
    process.wait(10)
    assert time.monotonic() - started >= 0.5
    process, _ = start(orphan_s=60)
    say(process, "stop")
    process.wait(10)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's help is Linux's")
def test_a_killed_supervisor_ends_its_command() -> None:
    process, pid = start(stubborn=True)
    process.kill()
    process.wait(10)
    wait_until(lambda: gone(pid), "the command is gone")


def test_the_command_s_exit_code_is_passed_on() -> None:
    code = [sys.executable, "-I", "-S", str(GUARD), "1", "0", sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(code, stdin=subprocess.PIPE) as process:
        wait_until(lambda: process.poll() is not None, "the guard ends with its command")
        assert process.returncode == 7
