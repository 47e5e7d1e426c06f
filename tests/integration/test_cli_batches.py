"""Batches on the command line: plan, status, list, retry and export, with real files, Redis and workers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tasks.cli import submission
from tasks.client.producer import Producer
from tests.integration.test_cli_control import act
from tests.support.command_line import Cli, cli, words_of, write_audio
from tests.support.fleet import Fleet, assert_every_key_ends
from tests.support.wait import wait_until
from worker.errors import BadJob
from worker.settings import Settings, load
from worker.storage.address import Address
from worker.transcript.model import Gap

__all__ = ["cli"]  # a fixture


@pytest.fixture
def settings(redis_url: str) -> Iterator[Settings]:
    yield load({}, redis_url=redis_url)
    assert_every_key_ends(redis_url)


def test_plan_prints_the_totals_and_the_files_that_will_fail(cli: Cli) -> None:
    write_audio(cli.folder / "in" / "a.wav", duration_s=20)
    write_audio(cli.folder / "in" / "b.flac", duration_s=10)
    (cli.folder / "in" / "empty.wav").touch()
    (cli.folder / "in" / "junk.mp3").write_bytes(b"no sound at all " * 99)
    plan = cli.json("plan", "in", "--price-per-hour", "36", "--sessions", "2", "--speed", "2")
    assert (plan["files"], plan["failing_count"], plan["sessions"]) == (4, 2, 2)
    assert 28 < plan["audio_s"] < 33
    assert plan["streamed_s"] == pytest.approx(plan["audio_s"] + 2 * 2)
    assert plan["cost"] == pytest.approx(plan["streamed_s"] / 100, abs=0.01)
    assert plan["batch_wall_time_s"] == plan["longest_file_wall_time_s"] < 12
    assert {Path(job["source"]).name for job in plan["failing_sources"]} == {"empty.wav", "junk.mp3"}
    told = cli.run("plan", "in", "--speech", "--price-per-hour", "0.4")
    assert told.returncode == 1
    assert "empty.wav: the file is empty (0 bytes)" in told.stdout.replace("\n", " ")
    assert "of speech" in told.stdout
    assert re.search(r"^cost +0\.00[1-9]\d* at 0\.4 an hour$", told.stdout, re.MULTILINE)
    assert cli.run("plan", "in/a.wav").returncode == 0
    assert not (cli.folder / "transcripts").exists()


def test_a_batch_from_submit_to_export(cli: Cli, fleet: Fleet, redis_url: str) -> None:
    service = {"STT_REDIS_URL": redis_url}
    said = {
        "calls/one": write_audio(cli.folder / "calls" / "one.wav", seed=1),
        "x/two": write_audio(cli.folder / "calls" / "x" / "two.wav", seed=2),
    }
    (cli.folder / "calls" / "empty.wav").touch()
    (cli.folder / "calls" / "none.wav").touch()
    (cli.folder / "list.csv").write_text("source,id,language\ncalls/one.wav,call-1,yue\n")
    for arguments in (["list.csv"], ["calls/**/two.wav", "calls/empty.wav", "calls/none.wav"]):
        queued = cli.json("submit", *arguments, "--batch", "monday", **service)
        assert queued["batch"] == "monday"
    assert cli.json("list", **service)["batches"][0]["counts"] == {"queued": 4}
    assert "monday: 4 jobs: 4 queued" in cli.run("status", "monday", **service).stdout
    assert "monday" in cli.run("list", **service).stdout

    fleet.start()
    watched = cli.run_process("status", "monday", "--watch", **service)
    assert watched.returncode == 0
    last = cli.json("status", "monday", **service)
    assert (last["state"], last["counts"]) == ("failed", {"done": 2, "failed": 2})
    assert {job["id"] for job in last["jobs"]} >= {"call-1"}
    (group,) = last["failures"]
    assert (group["count"], group["code"]) == (2, "source_damaged")
    assert last["speed"] > 0
    assert last["left_s"] is None
    rows = cli.run("status", "monday", **service).stdout.splitlines()
    assert sum(" failed " in row and row.endswith("the file is empty (0 bytes)") for row in rows) == 2
    shown = cli.run("status", "monday", "--no-jobs", **service).stdout
    assert "2  the file is empty (0 bytes)" in shown
    assert "stt-batch retry --failed monday" in shown
    assert len(cli.json("retry", "monday", "--failed", **service)["queued"]) == 2
    wait_until(lambda: cli.json("status", "monday", **service)["state"] == "failed", "they failed again", 60, 0.1)

    done = cli.run_process("export", "monday", "--format", "srt,json", "--out", "exported", **service)
    assert done.returncode == 1  # two have nothing to write
    assert "2 transcripts written to exported, 2 left out" in done.stdout
    for name, words in said.items():
        assert words_of(cli.folder / "exported" / f"{name}.json") == words
        assert words[0] in (cli.folder / "exported" / f"{name}.srt").read_text("utf-8")
    assert json.loads((cli.folder / "exported" / "calls" / "one.json").read_text())["job_id"] == "call-1"
    summary = json.loads((cli.folder / "exported" / "summary.json").read_text("utf-8"))
    assert summary["counts"] == {"done": 2, "failed": 2}
    assert "empty" in (cli.folder / "exported" / "summary.html").read_text("utf-8")

    again = cli.json("export", "exported", "--format", "vtt", "--out", "vtt", **service)
    assert sorted(Path(path).name for path in again["written"]) == ["one.vtt", "two.vtt"]
    assert again["left_out"] == {}
    nothing = cli.run("export", "calls", "--out", "x", **service)
    assert nothing.returncode == 2
    assert "no JSON transcripts" in nothing.stderr
    assert cli.run("export", "tuesday", "--out", "x", **service).returncode == 2


def test_a_paused_batch_and_one_that_is_incomplete(cli: Cli, settings: Settings, redis_url: str) -> None:
    for name in "ab":
        (cli.folder / f"{name}.wav").write_bytes(name.encode())
    queued = cli.json("submit", "a.wav", "b.wav", "--batch", "tuesday", STT_REDIS_URL=redis_url)
    first, _ = [job["id"] for job in queued["jobs"]]
    asyncio.run(act(settings, first, gap=Gap(start=1.5, end=2.0, reason="never committed")))
    cli.run("pause", "tuesday", STT_REDIS_URL=redis_url)
    batch = cli.json("status", "tuesday", "--no-jobs", STT_REDIS_URL=redis_url)
    assert (batch["state"], batch["counts"]) == ("paused", {"incomplete": 1, "queued": 1})
    assert [group["reason"] for group in batch["failures"]] == ["1.5–2.0 s missing: never committed"]
    assert "jobs" not in batch
    assert "paused" in cli.run("list", STT_REDIS_URL=redis_url).stdout
    for arguments in (["status", "nobody"], ["status", "nobody", "--watch"]):
        wrong = cli.run(*arguments, STT_REDIS_URL=redis_url)
        assert wrong.returncode == 2
        assert "Traceback" not in wrong.stderr


def test_many_files_are_queued_in_parts(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the last part is found before the first part is queued."""
    monkeypatch.setattr(submission, "AT_ONCE", 2)
    lines = [
        json.dumps({"source": f"{name}.wav", **({"id": f"key-{name}"} if name in "bd" else {})}) for name in "abcde"
    ]
    for name in "abcd":
        (cli.folder / f"{name}.wav").write_bytes(name.encode())
    (cli.folder / "list.jsonl").write_text("\n".join(lines))
    refused = cli.run("submit", "list.jsonl", STT_REDIS_URL=redis_url)
    assert refused.returncode != 0
    assert "e.wav" in refused.stderr
    assert cli.json("list", STT_REDIS_URL=redis_url)["batches"] == []
    (cli.folder / "e.wav").write_bytes(b"e")
    queued = cli.json("submit", "list.jsonl", "--batch", "parts", STT_REDIS_URL=redis_url)
    assert [Path(job["source"]).name for job in queued["jobs"]] == [f"{name}.wav" for name in "abcde"]
    assert [job["id"] for job in queued["jobs"]][1::2] == ["key-b", "key-d"]
    assert cli.json("status", "parts", STT_REDIS_URL=redis_url)["counts"] == {"queued": 5}


def test_a_webhook_of_the_last_file_is_checked_before_the_first_one_is_queued(
    cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_self: Producer, urls: Iterable[Address]) -> None:
        if any("refused" in url.shown for url in urls):
            raise BadJob("webhook: no worker can deliver it")

    monkeypatch.setattr(submission, "AT_ONCE", 2)
    monkeypatch.setattr(Producer, "check_webhooks", refuse)
    entries = [{"source": f"{name}.wav"} for name in "abc"]
    for entry in entries:
        (cli.folder / entry["source"]).write_bytes(entry["source"].encode())
    entries[-1]["webhook"] = "https://refused.example/"
    (cli.folder / "list.jsonl").write_text("\n".join(map(json.dumps, entries)))
    refused = cli.run("submit", "list.jsonl", STT_REDIS_URL=redis_url)
    assert (refused.returncode, "no worker can deliver it" in refused.stderr) == (2, True)
    assert cli.json("list", STT_REDIS_URL=redis_url)["batches"] == []
