"""A TLS server in front of a plain one, with certificates of an authority that exists only for the tests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme

from tests.support.forward_proxy import _pump
from tests.support.ports import free_port


class TestAuthority:
    """A certificate authority, with its certificate in the file `ca_file`."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._authority = _authority(str(folder))
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)

    def server(self, *names: str, expired: bool = False, client_certificates: bool = False) -> ssl.SSLContext:
        """Return the context of a server with a certificate for `names`. `client_certificates`: whether clients need
        one of this authority."""
        past = datetime.now(UTC) - timedelta(days=2)
        times = {"not_before": past, "not_after": past + timedelta(days=1)} if expired else {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names, **times).configure_cert(context)
        if client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context

    def client_files(self) -> tuple[Path, Path]:
        """Return the files with the certificate and the key of a client."""
        made = self._authority.issue_cert("client@example.com")
        certificate, key = self._folder / "client.pem", self._folder / "client.key"
        made.cert_chain_pems[0].write_to_path(certificate)
        made.private_key_pem.write_to_path(key)
        return certificate, key


def self_signed(names: tuple[str, ...]) -> ssl.SSLContext:
    """Return the context of a server with a certificate that no known authority signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority("unknown").issue_cert(*names).configure_cert(context)
    return context


@cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def tls_in_front(url: str, context: ssl.SSLContext, listen: str = "127.0.0.1") -> AsyncIterator[int]:
    """Run a TLS server that passes everything on to the server at `url` (http://host:port). Yields its port."""
    host, _, port = url.removeprefix("http://").partition(":")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await _pump(reader, writer, *await asyncio.open_connection(host, int(port)))

    server = await asyncio.start_server(serve, listen, free_port(), ssl=context)
    server_errors = asyncio.get_running_loop()
    server_errors.set_exception_handler(lambda *_: None)  # failed handshakes are expected
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server_errors.set_exception_handler(None)
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
