"""Node.js with the official Socket.IO client and server, installed once in a cache folder, run as child processes."""

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

SCRIPTS = Path(__file__).parent / "node"
NODE_LEAST = 18


def missing(reason: str) -> None:
    """Skip the test because a program is missing, but fail with CI=true."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _install(target: Path) -> None:
    """Install the locked packages with `npm ci`. Other processes never see a partial installation."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".node-") as temporary:
        work = Path(temporary) / "work"
        work.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(SCRIPTS / name, work / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=100, check=False)
        if done.returncode:
            missing(f"npm ci failed: {done.stderr.strip()[-600:]}")
        try:
            work.rename(target)
        except OSError:
            assert (target / "node_modules").is_dir(), "another process installs at the same time, and failed"


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts and their packages, so that no files are written into the checkout."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("Node.js and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE_LEAST:
        missing(f"Node.js {version} is too old; {NODE_LEAST} or later is needed")
    lock = hashlib.sha256((SCRIPTS / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stt-batch" / "tests" / f"node-{lock}"
    if not (cache / "node_modules").is_dir():
        _install(cache)
    folder = tmp_path_factory.mktemp("node")
    for script in SCRIPTS.glob("*.mjs"):
        shutil.copyfile(script, folder / script.name)
    (folder / "node_modules").symlink_to(cache / "node_modules")
    return folder


@dataclass(frozen=True, slots=True)
class NodeServer:
    """An official socket.io server with the events of the service (see server.mjs)."""

    url: str
    key: str

    def sessions(self) -> list[dict[str, Any]]:
        """The data of each session on the server's page /stats."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=5) as answer:  # noqa: S310 - our own server
            found: list[dict[str, Any]] = json.load(answer)["sessions"]
            return found


@contextmanager
def run_node_server(folder: Path, **options: Any) -> Iterator[NodeServer]:
    """Run server.mjs with options. `folder`: the folder of the fixture `node_modules`."""
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
