"""Runs official clients and servers for Node.js as child processes: those of Socket.IO, and OpenAI's client. Their
packages are installed once, in a cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOCKET_IO = Path(__file__).parent / "node"
OPENAI = Path(__file__).parent / "node_openai"
NODE_LEAST = 18


def missing(reason: str) -> None:
    """Skip the test because a program is missing. Fail the test instead if the environment has CI=true."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _install(scripts: Path, target: Path) -> None:
    """Install the locked packages of `scripts` with `npm ci` in the folder `target`. They are installed in a temporary
    folder, which is renamed at the end, so that other processes never see an incomplete installation."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".node-") as temporary:
        work = Path(temporary) / "work"
        work.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(scripts / name, work / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            missing(f"npm ci failed: {done.stderr.strip()[-600:]}")
        try:
            work.rename(target)
        except OSError:
            assert (target / "node_modules").is_dir(), "another process installs at the same time, and failed"


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder with the scripts for Socket.IO and a link to their packages. The checkout does not change."""
    return _installed(SOCKET_IO, tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="session")
def node_openai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for OpenAI's client, which only tests with the marker `matrix` need."""
    return _installed(OPENAI, tmp_path_factory.mktemp("node-openai"))


def _installed(scripts: Path, folder: Path) -> Path:
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("Node.js and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE_LEAST:
        missing(f"Node.js {version} is too old; {NODE_LEAST} or later is needed")
    lock = hashlib.sha256((scripts / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stt-batch" / "tests" / f"node-{lock}"
    if not (cache / "node_modules").is_dir():
        _install(scripts, cache)
    for script in scripts.glob("*.mjs"):
        shutil.copyfile(script, folder / script.name)
    (folder / "node_modules").symlink_to(cache / "node_modules")
    return folder


@dataclass(frozen=True, slots=True)
class NodeServer:
    """The official socket.io server, with a script that sends the events of the real-time service (`server.mjs`)."""

    url: str
    key: str

    def sessions(self) -> list[dict[str, Any]]:
        """Return the data about each session that the server's page /stats shows."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=5) as answer:  # noqa: S310 - our own server
            found: list[dict[str, Any]] = json.load(answer)["sessions"]
            return found


@contextmanager
def run_node_server(folder: Path, **options: Any) -> Iterator[NodeServer]:
    """Run server.mjs. `folder`: the value of the fixture `node_modules`. `options`: those that server.mjs describes."""
    key = str(options.setdefault("key", "node-key"))
    command = ["node", str(folder / "server.mjs"), json.dumps(options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, f"the Node server ended at once with {process.wait(timeout=10)}"
            yield NodeServer(json.loads(line)["url"], key)
        finally:
            process.stdin.close()
            process.wait(timeout=10)


@pytest.fixture
def node_server(node_modules: Path) -> Iterator[NodeServer]:
    """The official server with default options."""
    with run_node_server(node_modules) as server:
        yield server
