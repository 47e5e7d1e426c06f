"""The health file and its check."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli import main
from tasks.cli.health import problem
from tasks.observability.heartbeat import BEAT_S, MAX_AGE_S, Heartbeat
from tests.support.wait import async_wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "health"


def age(path: Path, part: str, by_s: float) -> None:
    """Make a heartbeat older; with `written`, the time at which the file was written."""
    state = json.loads(path.read_text())
    where = state if part == "written" else state["beats"]
    where[part] -= by_s
    path.write_text(json.dumps(state))


def test_a_process_that_beats_is_alive_and_ready_once_it_says_so(path: Path) -> None:
    heartbeat = Heartbeat(str(path), "loop", "timer")
    heartbeat.write()
    assert problem(str(path)) is None
    assert problem(str(path), ready=True) == "not ready: it is still starting"
    heartbeat.ready()
    heartbeat.write()
    assert problem(str(path), ready=True) is None
    heartbeat.ready("Redis is away")
    heartbeat.write()
    assert problem(str(path)) is None
    assert problem(str(path), ready=True) == "not ready: Redis is away"


@pytest.mark.parametrize("part", ["loop", "timer", "written"])
def test_one_part_without_heartbeat_makes_the_process_stuck(path: Path, part: str) -> None:
    heartbeat = Heartbeat(str(path), "loop", "timer")
    heartbeat.ready()
    heartbeat.write()
    age(path, part, MAX_AGE_S - 1)
    assert problem(str(path)) is None
    age(path, part, 2)
    found = problem(str(path), ready=True)
    assert found is not None
    assert str(os.getpid()) in found
    assert "stuck" in found
    assert ("wrote nothing" if part == "written" else f"its {part} has not") in found
    assert problem(str(path), max_age_s=MAX_AGE_S + 60) is None


def test_a_paused_part_needs_no_heartbeat(path: Path) -> None:
    heartbeat = Heartbeat(str(path), "loop", "timer")
    heartbeat.pause("timer")
    heartbeat.write()
    assert list(json.loads(path.read_text())["beats"]) == ["loop"]
    heartbeat.beat("timer")
    heartbeat.write()
    assert list(json.loads(path.read_text())["beats"]) == ["loop", "timer"]


def test_a_file_of_an_earlier_boot_is_unhealthy(path: Path) -> None:
    Heartbeat(str(path), "loop").write()
    age(path, "written", -3600)
    assert "before the machine was started" in (problem(str(path)) or "")


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"pid": 1, "written": "x", "beats": {}}', "\x00"])
def test_a_missing_or_malformed_file_is_unhealthy_with_the_reason(path: Path, content: str | None) -> None:
    if content is not None:
        path.write_text(content)
    assert str(path) in (problem(str(path)) or "")


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    heartbeat = Heartbeat("", "loop")
    heartbeat.write()
    heartbeat.remove()
    assert not list(tmp_path.iterdir())


def test_the_file_is_deleted_at_the_end_of_the_process(path: Path) -> None:
    heartbeat = Heartbeat(str(path), "loop")
    heartbeat.write()
    heartbeat.remove()
    assert not list(path.parent.iterdir())
    heartbeat.remove()


async def test_the_loop_writes_the_file_and_asks_for_the_problem(path: Path) -> None:
    heartbeat = Heartbeat(str(path), "loop")
    answers: list[str | None] = ["the model still loads"]
    keeping = asyncio.create_task(heartbeat.run("loop", lambda: answers[0]))
    await async_wait_until(path.exists, "the file is there")
    assert "the model still loads" in (problem(str(path), ready=True) or "")
    answers[0] = None
    await async_wait_until(lambda: problem(str(path), ready=True) is None, "it is ready", timeout_s=BEAT_S + 5)
    keeping.cancel()
    await asyncio.wait((keeping,))
    assert keeping.cancelled()


async def test_a_full_disk_does_not_end_the_process(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heartbeat = Heartbeat(str(path.parent / "gone" / "health"), "loop")
    keeping = asyncio.create_task(heartbeat.run("loop"))
    await async_wait_until(lambda: "health file" in caplog.text, "the failure is logged")
    assert not keeping.done()
    keeping.cancel()
    await asyncio.wait((keeping,))


def test_the_command_reports_health_by_its_exit_status(path: Path) -> None:
    def ask(*arguments: str, environ: str | None = None) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["health", *arguments], env={"STT_HEALTH_FILE": environ})
        return result.exit_code, result.output

    assert ask()[0] == 2
    assert ask(environ=str(path)) == (1, f"{path} does not exist: the process has not started, or has ended\n")
    heartbeat = Heartbeat(str(path), "loop")
    heartbeat.write()
    assert ask(environ=str(path)) == (0, "alive\n")
    assert ask("--ready", "--file", str(path)) == (1, "not ready: it is still starting\n")
    heartbeat.ready()
    heartbeat.write()
    assert ask("--ready", environ=str(path)) == (0, "ready\n")
    age(path, "loop", 5)
    assert ask("--max-age", "3", "--file", str(path))[0] == 1


def test_a_health_check_is_cheap(path: Path) -> None:
    """It runs every few seconds in each container. The complete command line would take three times as long."""
    heartbeat = Heartbeat(str(path), "loop")
    heartbeat.write()
    code = (
        "import sys\nfrom tasks.cli import main\n"
        f"try: main(['health', '--file', {str(path)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'pydantic', 'redis', 'celery', 'numpy', 'aiohttp', 'rich', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, check=True, timeout=30, env={"PYTHONPATH": str(ROOT)})
