"""`stt-batch status --out DIR` before a run, between two runs and after the last one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli.status import command
from tasks.embedded import running_stack
from tasks.embedded.running_stack import NoRun, settings_of_run, wait_for_run
from tasks.embedded.stack import STATE_FOLDER
from worker.errors import LedgerUnavailable
from worker.settings import Settings

NO_FOLDER = "no run has written to this folder; start `stt-batch run FILES --out"
CONF = "port 7\nrequirepass x\n"


class FakeLedger:
    """Answers if the file `alive` exists in `folder`."""

    folder: Path

    def __init__(self, settings: Settings) -> None:
        assert settings.redis_url == "redis://:x@127.0.0.1:7/0"

    async def ping(self) -> None:
        if not (self.folder / "alive").exists():
            raise LedgerUnavailable("refused")

    async def close(self) -> None:
        pass


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(running_stack, "Ledger", FakeLedger)
    monkeypatch.setattr(running_stack, "POLL_S", 0.01)
    FakeLedger.folder = tmp_path
    return tmp_path / "my transcripts"


async def test_the_view_waits_through_each_step_of_the_start_of_a_run(out: Path) -> None:
    said: list[str] = []
    conf = out / STATE_FOLDER / "valkey.conf"
    waiting = asyncio.create_task(wait_for_run(Settings(), out, said.append))
    steps = (lambda: conf.parent.mkdir(parents=True), lambda: conf.write_text("port"), lambda: conf.write_text(CONF))
    for step in steps:
        await asyncio.sleep(0.03)
        step()
        assert not waiting.done()
    await asyncio.sleep(0.03)
    (out.parent / "alive").touch()
    assert (await asyncio.wait_for(waiting, 30)).redis_url == "redis://:x@127.0.0.1:7/0"
    assert said == [f"{out}: {NO_FOLDER} '{out}'`"]  # once, with the command that starts a run


async def test_without_a_run_the_reason_names_the_remedy_and_earlier_results(out: Path) -> None:
    with pytest.raises(NoRun, match=NO_FOLDER):
        await settings_of_run(Settings(), out)
    (out / STATE_FOLDER).mkdir(parents=True)
    (out / STATE_FOLDER / "valkey.conf").write_text(CONF)
    (out / "summary.html").touch()
    with pytest.raises(NoRun, match=r"no run writes to this folder now; start .*, or see .*summary\.html"):
        await settings_of_run(Settings(), out)


def test_the_command_waits_only_with_watch(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = CliRunner().invoke(command, ["--out", str(out)])
    assert isinstance(found.exception, NoRun)

    async def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running_stack.asyncio, "sleep", interrupt)
    found = CliRunner().invoke(command, ["--watch", "--out", str(out)])
    assert "Waiting for a run; Ctrl-C ends the wait." in found.stderr
