"""A worker whose service refuses the account, and the commands with which an operator sees and ends the pause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Cli, cli
from tests.support.fleet import KEY, Fleet, tone_server
from tests.support.wait import wait_until

__all__ = ["cli"]  # a fixture


def test_a_paused_key_is_shown_and_resumed(tmp_path: Path, redis_url: str, cli: Cli) -> None:
    environ = {"STT_REDIS_URL": redis_url, "STT_API_KEY": KEY}
    with tone_server(tmp_path, "error=quota_exceeded@0:1") as url:
        fleet = Fleet(tmp_path, redis_url, url, {"STT_SPEED": "8"})
        try:
            path, words = fleet.audio("call", 6.0)
            with fleet.raw as raw:
                raw.xadd("stt:intake", {"job": json.dumps({"source": str(path)}), "key": "call"})
            fleet.start(sessions=1)

            def has_reason() -> bool:
                with fleet.raw as raw:
                    return "quota_exceeded" in (raw.hget("stt:job:call", "error") or "")

            wait_until(has_reason, "the job has the reason", timeout_s=30)
            record = fleet.record("call")
            assert (record.state, record.error_code, record.attempts) == ("queued", "account_refused", 0)
            shown = cli.run("status", **environ).stdout
            assert "is paused since" in shown
            assert "quota_exceeded" in shown
            (state,) = cli.json("status", **environ)["paused_keys"]
            assert state["code"] == "account_refused"
            doctor = cli.run("doctor", **{**environ, "STT_URL": ""}).stdout
            assert "is paused since" in doctor
            assert "stt-batch resume --key" in doctor
            assert KEY not in shown + doctor
            assert "will be tried at once" in cli.run("resume", "--key", **environ).stdout
            wait_until(lambda: fleet.record("call").state.ended, "the job ends", timeout_s=30)
            fleet.assert_done("call", words)
            assert cli.run("resume", "--key", **environ).stdout == "no API key is paused\n"
            assert "is paused since" not in cli.run("status", **environ).stdout
        finally:
            fleet.close()


@pytest.mark.parametrize("arguments", [[], ["monday", "--key"]])
def test_resume_needs_names_or_key(cli: Cli, arguments: list[str]) -> None:
    done = cli.run("resume", *arguments)
    assert done.returncode == 2
    assert "name jobs or batches, or give --key" in done.stderr
    assert ("not both" in done.stderr) == ("--key" in arguments)
