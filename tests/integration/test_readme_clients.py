"""Runs the clients of the documentation unchanged, except for address, key and file."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import readme
from tests.support.node_env import node_modules
from tests.support.service import KEY, service, tones
from tests.support.wait import allowed_s

__all__ = ["node_modules"]


def snippet(language: str, **changes: str) -> str:
    """Return the code of the documentation's only client in `language`. `changes`: texts to replace, each of which must
    occur in the code."""
    found = re.findall(rf"```{language}\n(.*?)```", readme.text(), re.DOTALL)
    (code,) = [str(block) for block in found if "start-session" in block]
    for old, new in changes.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    return code


async def output_of(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), allowed_s(60))
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out.decode()
    return out.decode()


def committed(output: str) -> list[str]:
    lines = [line.split(" ", 1) for line in output.splitlines()]
    return " ".join(rest for kind, rest in lines if kind == "committed_transcript").split()


async def test_the_python_client(tmp_path: Path) -> None:
    words, pcm = tones(6, 8000)
    soundfile.write(tmp_path / "call.wav", np.frombuffer(pcm, "<i2"), 8000)
    async with service() as server:
        changes = {
            "http://127.0.0.1:8808": server.url,
            '"secret"': f'"{KEY}"',
            "tests/samples/phone-call.wav": str(tmp_path / "call.wav"),
        }
        (tmp_path / "client.py").write_text(snippet("python", **changes))
        assert committed(await output_of(sys.executable, "client.py", cwd=tmp_path)) == [word.text for word in words]


@pytest.mark.node
async def test_the_node_client(node_modules: Path) -> None:
    words, pcm = tones(6)
    (node_modules / "speech.pcm").write_bytes(pcm)
    async with service() as server:
        changes = {"http://127.0.0.1:8808": server.url, '"secret"': f'"{KEY}"'}
        (node_modules / "readme.cjs").write_text(snippet("js", **changes))
        assert committed(await output_of("node", "readme.cjs", cwd=node_modules)) == [word.text for word in words]
