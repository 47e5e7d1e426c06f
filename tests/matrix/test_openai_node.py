"""The official Node client of OpenAI with this server: every format, streaming, and errors.

The Python client has the same tests in tests/integration/test_api_openai.py."""

from __future__ import annotations

import asyncio
import json
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import KEYS, Api, api_settings, running_api
from tests.support.node_env import node_openai
from tests.support.redis_server import redis_server

__all__ = ["node_openai"]
pytestmark = [pytest.mark.matrix, pytest.mark.node]


def write_audio(path: Path, seconds: float) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\1" * int(8000 * seconds))
    return str(path)


async def work(api: Api) -> None:
    """Run the first job; fail each further one, and each retry of it."""
    (first,) = await api.begun()
    await api.transcribe(first, words=2)
    while True:
        for job_id in await api.context.ledger.recent_jobs():
            record = await api.context.ledger.get(job_id)
            if record is not None and record.state == "queued":
                await api.fail(job_id, "source_damaged", "nothing in it is audio")
        await asyncio.sleep(0.05)


async def answers_of(folder: Path, **options: str) -> dict[str, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        "node", str(folder / "openai.mjs"), json.dumps(options), stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 150)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out
    found = [json.loads(line) for line in out.splitlines()]
    return {one.pop("call"): one for one in found}


async def test_the_official_node_client_gets_every_format_and_error(node_openai: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "a.png"
    garbage.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    files = {name: write_audio(tmp_path / f"{name}.wav", s) for name, s in {"file": 2, "other": 3, "long": 9}.items()}
    with redis_server() as redis_url:
        async with running_api(api_settings(redis_url, tmp_path, http_sync_max_s=5)) as api:
            working = asyncio.create_task(work(api))
            keys = {"key": KEYS["alice"], "reader": KEYS["reader"]}
            found = await answers_of(node_openai, url=api.url, garbage=str(garbage), **keys, **files)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    results = {name: one["result"] for name, one in found.items() if "result" in one}
    assert results["json"] == "word 0 word 1"
    assert results["text"] == "word 0 word 1\n"
    assert "00:00:00,000 --> 00:00:02,000" in results["srt"]
    assert results["vtt"].startswith("WEBVTT")
    assert [word["word"] for word in results["verbose"]["words"]] == ["word 0", "word 1"]
    assert [(one["start"], one["end"]) for one in results["verbose"]["segments"]] == [(0, 1), (1, 2)]
    assert [event["type"] for event in results["stream"]] == [*["transcript.text.delta"] * 2, "transcript.text.done"]
    assert results["stream"][-1]["text"] == "".join(one["delta"] for one in results["stream"][:-1]) == "word 0 word 1"
    assert "whisper-1" in results["models"]
    assert results["model"] == "whisper-1"
    errors = {name: (one["error"], one.get("status"), one["code"]) for name, one in found.items() if "error" in one}
    assert errors == {
        "no_model": ("NotFoundError", 404, "model_not_found"),
        "bad_format": ("BadRequestError", 400, "invalid_value"),
        "bad_granularity": ("BadRequestError", 400, "invalid_value"),
        "too_long": ("APIError", 413, "audio_too_long"),
        "garbage": ("BadRequestError", 400, "source_unsupported"),
        "failed": ("BadRequestError", 400, "source_damaged"),
        "failed_stream": ("APIError", None, "source_damaged"),
        "wrong_key": ("AuthenticationError", 401, "unauthorized"),
        "reader": ("PermissionDeniedError", 403, "forbidden"),
    }
    assert found["bad_format"]["param"] == "response_format"
    assert "POST /v1/jobs" in found["too_long"]["message"]
    assert str(tmp_path) not in json.dumps(found)
