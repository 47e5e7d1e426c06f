"""Runs `stt-batch` commands in the folder of a test: in a new process, or within the test's process, which saves the
start-up time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
import soundfile
from click.testing import CliRunner

from tasks.cli import main
from tasks.embedded import stack
from tests.support.forked_process import ForkedProcess, start_process
from tests.support.forked_stack import ForkedChild
from tests.support.tone_recognizer import ENGINE
from tests.support.tones import encode, speech
from tests.support.wait import wait_until
from worker.storage import object_store

ROOT = Path(__file__).parents[2]
RATE = 16000
TIMEOUT_S = 280.0  # longer than the embedded stack may take to start; only a command that hangs reaches it


def write_audio(path: Path, duration_s: float = 3.0, seed: int = 1) -> list[str]:
    """Write an audio file of tone-coded speech (`tests.support.tones`). Returns the texts of its words."""
    words = list(speech(duration_s, seed=seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, encode(words, RATE), RATE)
    return [word.text for word in words]


def words_of(transcript: Path) -> list[str]:
    """Return the texts of all words in a JSON transcript."""
    document = json.loads(transcript.read_text("utf-8"))
    return [word["text"] for segment in document["segments"] for word in segment["words"]]


class Cli:
    """Runs commands in a folder, and finds the processes that they leave running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"STT_SERVER_RECOGNIZER": ENGINE, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        self.environment["STT_CONFIG"] = "none"  # the file of the developer must not change a test
        self.started: list[subprocess.Popen[str]] = []
        self.forked: list[ForkedProcess] = []

    # -- commands in a new process -------------------------------------------------------------------------------------

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in a new process, without waiting for its end."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.cli", *arguments],
            cwd=self.folder,
            env=self._environ(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run_process(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a new process."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def fork(self, command: str, *arguments: str, **environment: str) -> ForkedProcess:
        """Start a server or worker that the test needs, as a fork (`tests.support.forked_process`). Its output is
        appended to `COMMAND.log` in the folder."""
        log = self.folder / f"{command}.log"
        process = start_process(
            "tasks.cli", command, *arguments, env=self._environ(environment), log=log, folder=self.folder
        )
        self.forked.append(process)
        return process

    def _environ(self, more: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STT_")}
        return {**inherited, **self.environment, **more}

    # -- commands in the test's process --------------------------------------------------------------------------------

    def run(self, *arguments: str, audio: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in the test's process. Raises any exception that the command did not catch.

        `audio`: bytes of its standard input.

        The service and the worker that `stt-batch run` starts are forks (`tests.support.forked_stack`).
        """
        unset = {name: None for name in os.environ if name.startswith("STT_")}
        object_store._store_of.cache_clear()  # the cached clients use the credentials of the last command
        with chdir(self.folder), patch.object(stack, "Child", ForkedChild):
            done = CliRunner().invoke(
                main, arguments, audio, env={**unset, **self.environment, **environment}, prog_name="stt-batch"
            )
        object_store._store_of.cache_clear()
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def json(self, *arguments: str, **environment: str) -> Any:
        done = self.run(*arguments, "--json", **environment)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    # -- remaining processes ------------------------------------------------------------------------------------------

    def log(self, name: str, out: str = "transcripts") -> str:
        path = self.folder / out / ".stt-batch" / f"{name}.log"
        return path.read_text("utf-8") if path.exists() else ""

    def processes(self) -> list[str]:
        """Return the current folder and command line of each running process in which the test's folder appears."""
        alive = []
        for process in psutil.process_iter():
            try:
                place = f"{process.cwd()} {' '.join(process.cmdline())}"
                if str(self.folder) in place and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(place)
            except psutil.Error:
                continue
        return alive

    def assert_nothing_left(self, timeout_s: float = 6.0) -> None:
        wait_until(lambda: not self.processes(), f"no process is left, but {self.processes()}", timeout_s=timeout_s)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path)
    yield cli
    for process in cli.started:
        process.kill()
        process.communicate(timeout=10)
    for forked in cli.forked:
        forked.kill()
        forked.wait(10)
    cli.assert_nothing_left()
