"""The example client in docs/examples, written for Node.js without libraries: uploads, live text, errors, an outage."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.support.api import KEYS, api_settings, running_api
from tests.support.node_env import missing
from tests.support.proxy import proxy
from tests.support.wait import allowed_s

CLIENT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "transcribe.mjs"


@pytest.mark.node
@pytest.mark.matrix
async def test_the_example_client_follows_jobs_over_a_cut_connection(redis_url: str, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        missing("Node.js is not installed")
    files = [tmp_path / "good.wav", tmp_path / "bad.wav"]
    for number, file in enumerate(files):
        file.write_bytes(b"audio %d" % number)
    async with running_api(api_settings(redis_url, tmp_path)) as api, proxy(api.url) as line:
        environ = {**os.environ, "STT_API": line.url, "STT_KEY": KEYS["alice"]}
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(
            "node", str(CLIENT), *map(str, files), env=environ, stdout=pipe, stderr=pipe
        )
        for job_id in await api.begun(2):
            status = (await api.boss.get(f"/v1/jobs/{job_id}")).json()
            if status["source"] == "bad.wav":
                await api.fail(job_id, "source_damaged", "nothing in it is audio")
                continue
            lease = await api.lease(job_id)
            await api.commit(lease, 0)
            assert client.stdout is not None
            assert await asyncio.wait_for(client.stdout.readline(), allowed_s(60)) == b"good.wav 0.00 word 0\n"
            line.reset()
            await lease.release()
            await api.transcribe(job_id)
        out, err = await asyncio.wait_for(client.communicate(), allowed_s(60))
    assert out.decode().splitlines() == [f"good.wav {n}.00 word {n}" for n in range(3)]
    assert err.decode().strip() == f"{files[1]}: failed: nothing in it is audio"
    assert client.returncode == 1
    assert "word 2" in Path(f"{files[0]}.srt").read_text()  # noqa: ASYNC240
