"""The modules that a command imports before its first output, and before its processes start.

Start-up time is mostly imports. Seconds depend on the load of the machine, so the budget is a list of forbidden modules
and a number of modules. `python -X importtime -m tasks.cli …` shows the cost of each.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import soundfile

from tasks.cli import main
from tasks.cli.command_names import COMMANDS
from tests.support.samples_of import a_segment, a_transcript
from worker.optional_modules import UNUSED_MODULES

ROOT = Path(__file__).parents[3]
ALWAYS_HEAVY = ("numpy", "redis", "celery", "aiohttp", "socketio", "soundfile", "av", "structlog", "ctranslate2")
LIGHT = (*ALWAYS_HEAVY, "pydantic", "asyncio", "rich.console", "worker.settings")


def imported(*arguments: str, folder: Path = ROOT) -> set[str]:
    """Return the modules that a command imports from its start to its end."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-P", "-m", "tasks.cli", *arguments],
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("STT_")}, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    names = set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "tasks.cli" in names
    return names


def packages(names: set[str], forbidden: tuple[str, ...]) -> set[str]:
    return {name for name in forbidden if any(one == name or one.startswith(f"{name}.") for one in names)}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_no_command(option: str) -> None:
    names = imported(option)
    assert not packages(names, LIGHT)
    assert {name for name in names if name.startswith("tasks.cli.")} == {
        "tasks.cli.command_names",
        "tasks.cli.exit_codes",
        "tasks.cli.library_output",
        "tasks.cli.terminal_output",
    }


def test_the_help_of_the_program_lists_the_help_of_each_command() -> None:
    """The list is a table, so it must agree with the commands."""
    for name, (_, short_help) in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.get_short_help_str(200) == short_help


def test_a_run_shows_its_display_before_it_imports_what_only_processes_need() -> None:
    """The first output of a run appears after these imports."""
    program = "import tasks.cli.run.command, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    names = set(done.stdout.split())
    assert "tasks.cli.run.command" in names, done.stderr
    assert not packages(names, ALWAYS_HEAVY)
    assert len(names) < 900  # 720 with Python 3.11


@pytest.mark.parametrize("service", [(), ("--url", "http://127.0.0.1:9", "--api-key-file", "key")])
def test_a_run_with_nothing_to_do_imports_and_starts_nothing(service: tuple[str, ...], tmp_path: Path) -> None:
    """Its transcripts show that there is nothing to do, so no process, Redis client or recognizer is needed."""
    # The helper starts the command in its own process; no process of a stack may be started by it.
    soundfile.write(tmp_path / "a.wav", [0.0] * 1600, 16000)
    (tmp_path / "key").write_text("secret")
    finish(tmp_path, *service[1:2])
    names = imported("run", "a.wav", "--format", "json,txt", *service, folder=tmp_path)
    assert not packages(names, (*ALWAYS_HEAVY, "tasks.embedded.stack", "tasks.client.producer", "subprocess.Popen"))
    assert not (tmp_path / "transcripts" / ".stt-batch").exists()
    assert (tmp_path / "transcripts" / "summary.json").exists()


def finish(folder: Path, *url: str) -> None:
    """Write the transcript files of `run a.wav --format json,txt` into the folder, as an earlier run would. `url`: of
    the service, or nothing for the embedded one."""
    program = """
import asyncio, math, sys
from pathlib import Path
from tasks.cli.run.command import local_settings
from tasks.client.identities import Identities
from tasks.client.new_spec import make_spec
from worker.secret_masking import show_url
settings, embedded = local_settings({"url": sys.argv[1], "api_key": "secret"} if sys.argv[1:] else {})
engine = f"embedded {settings.server_recognizer} {settings.model} {settings.server_language}"
engine = engine if embedded else show_url(settings.url)
spec = make_spec("a.wav", out_dir="transcripts", out_name="a", formats=("json", "txt"))
print(asyncio.run(Identities().identify_many([spec], settings, scope=engine))[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *url],
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("STT_")}, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    identity = done.stdout.strip()
    assert identity, done.stderr
    out = folder / "transcripts"
    out.mkdir()
    (out / "a.txt").write_text("hello\n")
    (out / "a.json").write_text(a_transcript(identity, (a_segment(),)).model_dump_json())


def _modules_of(program: str) -> set[str]:
    """Return the modules that a program has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print('modules:', *sys.modules)"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("STT_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "modules:" in done.stdout, done.stderr[-2000:]
    return set(done.stdout.rpartition("modules:")[2].split())


def test_a_worker_does_not_import_optional_modules_of_its_libraries() -> None:
    """They take a sixth of the start time. Importing `tasks.transcribe` loads all modules of a worker."""
    names = _modules_of("""
import sys, types
sys.modules["tasks.celery_worker"] = types.SimpleNamespace(run_worker=lambda **_: None)
from tasks.cli.worker import _run_celery
from worker.settings import load
_run_celery(load({}), None, of_several=False)
""")
    assert {"tasks.transcribe", "socketio", "redis", "celery", "structlog"} <= names
    assert not packages(names, UNUSED_MODULES)


def test_a_service_does_not_import_optional_modules_of_its_libraries() -> None:
    """It ends before it listens, because it has no key."""
    names = _modules_of("""
import tasks.cli.server as server
from worker.server import background_load
background_load.load_in_background = lambda settings: None
try:
    server.command.main(["--port", "0"])
except BaseException as exc:
    print(repr(exc))
""")
    assert {"worker.server.app", "socketio", "structlog"} <= names
    assert not packages(names, (*UNUSED_MODULES, "redis"))
