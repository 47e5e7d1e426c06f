"""Certificates of the service: trusted ones work, and each fault is named with its remedy."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.pipeline_run import KEY, tone_service
from tests.support.tls_proxy import TestAuthority, self_signed, tls_in_front
from worker.errors import EndpointUnavailable, SourceError, SourceUnavailable
from worker.realtime import client
from worker.settings import load
from worker.storage.address import parse
from worker.storage.sources.web import read
from worker.webhooks.http_post import WebhookSender

pytestmark = pytest.mark.usefixtures("few_certificates")


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@asynccontextmanager
async def secure_service(context: ssl.SSLContext) -> AsyncIterator[str]:
    async with tone_service() as settings, tls_in_front(settings.url, context) as port:
        yield f"https://127.0.0.1:{port}"


@asynccontextmanager
async def answering_plainly() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextmanager
def demanding_a_certificate(context: ssl.SSLContext) -> Iterator[str]:
    """Run a server in a separate thread. Unlike a server of asyncio, it sends the TLS alert when it refuses a
    client."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secure:
                with suppress(OSError):
                    secure.do_handshake()
                time.sleep(0.3)  # an immediate close with unread data resets the connection, and the alert is lost

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


async def connect(url: str, transport: str = "websocket", **more: str) -> str:
    settings = load({"STT_URL": url, "STT_API_KEY": KEY, "STT_TRANSPORT": transport, **more})
    return await client.check(settings.url, settings.api_key, settings)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_own_authorities_are_trusted(
    transport: str, authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secure_service(authority.server("127.0.0.1")) as url:
        with pytest.raises(EndpointUnavailable, match=r"its certificate is not trusted: .*STT_CA_FILE"):
            await connect(url, transport)
        assert await connect(url, transport, STT_CA_FILE=str(authority.ca_file)) == transport
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        assert await connect(url, transport) == transport


@pytest.mark.parametrize("transport", [pytest.param("auto", marks=pytest.mark.matrix), "websocket", "polling"])
@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("expired", r"its certificate has expired; renew it"),
        ("other host", r"its certificate is for another host \(.*127\.0\.0\.1"),
        ("self-signed", r"its certificate is not trusted: .*STT_CA_FILE"),
        ("no TLS", r"it does not speak TLS at this port; use http://"),
    ],
)
async def test_each_fault_is_named(fault: str, named: str, transport: str, authority: TestAuthority) -> None:
    contexts = {
        "expired": lambda: authority.server("127.0.0.1", expired=True),
        "other host": lambda: authority.server("other.example"),
        "self-signed": lambda: self_signed(("127.0.0.1",)),
    }
    trust = {"STT_CA_FILE": str(authority.ca_file)}
    if fault == "no TLS":
        async with answering_plainly() as port:
            with pytest.raises(EndpointUnavailable, match=named):
                await connect(f"https://127.0.0.1:{port}", transport, **trust)
        return
    async with secure_service(contexts[fault]()) as url:
        with pytest.raises(EndpointUnavailable, match=named):
            await connect(url, transport, **trust)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_client_certificate_is_sent_to_the_service_only(transport: str, authority: TestAuthority) -> None:
    certificate, key = authority.client_files()
    trust = {"STT_CA_FILE": str(authority.ca_file)}
    files = {**trust, "STT_CLIENT_CERT_FILE": str(certificate), "STT_CLIENT_KEY_FILE": str(key)}
    async with secure_service(authority.server("127.0.0.1", client_certificates=True)) as url:
        assert await connect(url, transport, **files) == transport
        with pytest.raises(SourceUnavailable):
            async with read(parse(f"{url}/x"), 0, None, load({**files, "STT_ALLOWED_SOURCES": "*"})):
                pass
    with (
        demanding_a_certificate(authority.server("127.0.0.1", client_certificates=True)) as url,
        pytest.raises(EndpointUnavailable, match=r"client certificate .*STT_CLIENT_CERT_FILE"),
    ):
        await connect(url, transport, **trust)


async def test_files_that_cannot_be_used_are_named(
    authority: TestAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, _ = authority.client_files()
    (tmp_path / "empty.pem").write_text("no certificate")
    (tmp_path / "other.key").write_bytes(TestAuthority(tmp_path / "other").client_files()[1].read_bytes())
    for files, named in (
        ({"STT_CA_FILE": "/missing.pem"}, "STT_CA_FILE: /missing.pem: No such file"),
        ({"STT_CA_FILE": str(tmp_path / "empty.pem")}, "STT_CA_FILE: .*contains no certificate"),
        ({"STT_CLIENT_CERT_FILE": str(certificate)}, "STT_CLIENT_CERT_FILE: .*no certificate with its key"),
        (
            {"STT_CLIENT_CERT_FILE": str(certificate), "STT_CLIENT_KEY_FILE": str(tmp_path / "other.key")},
            "STT_CLIENT_KEY_FILE: .*the key does not belong to the certificate",
        ),
    ):
        with pytest.raises(EndpointUnavailable, match=named):
            await connect("https://127.0.0.1:1", **files)
    monkeypatch.setenv("SSL_CERT_FILE", "/missing.pem")
    with pytest.raises(EndpointUnavailable, match=r"SSL_CERT_FILE: /missing\.pem: No such file"):
        await connect("https://127.0.0.1:1")


async def test_a_key_with_a_passphrase_does_not_ask_on_the_terminal(tmp_path: Path, authority: TestAuthority) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    certificate, key = authority.client_files()
    loaded = load_pem_private_key(key.read_bytes(), None)
    locked = BestAvailableEncryption(b"secret")
    key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    with pytest.raises(EndpointUnavailable, match="protected by a passphrase; save it without one"):
        await connect("https://127.0.0.1:1", STT_CLIENT_CERT_FILE=str(certificate), STT_CLIENT_KEY_FILE=str(key))


async def test_a_renewed_file_is_used_without_a_restart(authority: TestAuthority, tmp_path: Path) -> None:
    file = tmp_path / "bundle.pem"
    file.write_bytes(TestAuthority(tmp_path / "other").ca_file.read_bytes())
    async with secure_service(authority.server("127.0.0.1")) as url:
        with pytest.raises(EndpointUnavailable, match="not trusted"):
            await connect(url, STT_CA_FILE=str(file))
        file.write_bytes(authority.ca_file.read_bytes())
        assert await connect(url, STT_CA_FILE=str(file)) == "websocket"


async def test_downloads_and_webhooks_use_the_same_trust(authority: TestAuthority) -> None:
    async with secure_service(authority.server("127.0.0.1")) as url:
        allowed = {"STT_ALLOWED_SOURCES": "*", "STT_ALLOWED_WEBHOOKS": "*", "STT_WEBHOOK_SECRET": "x" * 24}
        for trust, answered in (({}, False), ({"STT_CA_FILE": str(authority.ca_file)}, True)):
            settings = load({**allowed, **trust})
            with pytest.raises(SourceError) as refused:
                async with read(parse(f"{url}/missing.wav"), 0, None, settings):
                    pass
            assert ("HTTP 404" in str(refused.value)) == answered
            result = await WebhookSender(settings).send(parse(f"{url}/missing"), "msg_1", b"{}", 0)
            assert ("HTTP 40" in result.reason) == answered
            for text in () if answered else (str(refused.value), result.reason):
                assert "its certificate is not trusted: " in text
                assert "STT_CA_FILE" in text
