"""Text from services and producers may contain secrets or control sequences. They do not reach the ledger, the
transcript or the terminal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from tasks.cli import main
from tests.support.pipeline_run import KEY, MemoryLog, tone_service, transcribe
from tests.support.tones import encode, speech
from worker.errors import SttError
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import Settings, load

EVIL = "x\x1b[2J\x9b1m\u202egnp\u2066\r.wav"
RAW = ("\x1b", "\x9b", "\u202e", "\u2066", "\r")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, encode(list(speech(3.0, seed=1)), 16000), 16000)
    return path


@pytest.mark.parametrize(
    "fault",
    [f"refuse=Invalid API key {KEY}", f"error=auth_error no access for {KEY}@0"],
)
async def test_a_key_that_the_service_repeats_is_not_in_any_error(recording: Path, fault: str) -> None:
    async with tone_service(fault, STT_SESSION_RETRIES="0") as settings:
        with pytest.raises(SttError) as caught:
            await transcribe(recording, settings)
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)


async def test_a_password_in_the_address_is_in_no_transcript(recording: Path) -> None:
    log = MemoryLog()
    async with tone_service("close=2:1") as settings:
        with_user = load({}, url=settings.url.replace("://", "://ann:hunter22@"), api_key=KEY, session_retries=1)
        transcript = await transcribe(recording, with_user, log=log)
    assert transcript.failures
    for text in (transcript.model_dump_json(), repr(log.reports)):
        assert "hunter22" not in text
        assert "ann" not in text.replace("channel", "")


@pytest.mark.parametrize(
    "arguments", [["status"], ["status", EVIL], ["status", "job"], ["list"], ["status", EVIL, "--no-jobs"]], ids=repr
)
async def test_the_screen_shows_control_characters_as_codes(
    ledger: Ledger, settings: Settings, arguments: list[str]
) -> None:
    await _failed_job(ledger)
    shown = await _cli(settings, *arguments)
    assert not [mark for mark in RAW if mark in shown], shown
    assert "\\u001b" in shown


async def test_a_suggested_command_can_be_pasted(ledger: Ledger, settings: Settings) -> None:
    await _failed_job(ledger, batch="monday; rm -rf $HOME")
    assert "stt-batch retry --failed 'monday; rm -rf $HOME'" in await _cli(settings, "status", "monday; rm -rf $HOME")


async def test_json_is_escaped_and_the_same_document(ledger: Ledger, settings: Settings) -> None:
    await _failed_job(ledger)
    shown = await _cli(settings, "status", "job", "--json")
    assert not [mark for mark in RAW if mark in shown]
    assert json.loads(shown)["batch"] == EVIL
    assert json.loads(shown)["error"].endswith(EVIL)


async def _failed_job(ledger: Ledger, batch: str = EVIL) -> None:
    await ledger.create("job", json.dumps({"source": f"/audio/{EVIL}", "batch": batch}), batch=batch)
    lease = await ledger.acquire("job", "worker")
    assert isinstance(lease, Lease)
    await lease.fail("source_damaged", f"/audio/{EVIL}: cannot be read: {EVIL}")


async def _cli(settings: Settings, *arguments: str) -> str:
    environment = {"STT_REDIS_URL": settings.redis_url}
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    assert result.exit_code == 0, result.output
    return result.output
