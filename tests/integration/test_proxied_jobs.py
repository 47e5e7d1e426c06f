"""Downloads and webhooks through proxies with a login, and the checks of addresses that also apply with a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.integration.test_client_connect import answering, serving
from tests.support.forward_proxy import ForwardProxy, forward_proxy
from tests.support.tls_proxy import TestAuthority, tls_in_front
from worker.errors import SourceError, SourceRefused, SourceUnavailable
from worker.settings import Settings, load
from worker.storage.address import parse
from worker.storage.sources.web import read
from worker.webhooks.http_post import SendResult, WebhookSender

pytestmark = pytest.mark.usefixtures("few_certificates")
ALLOWED = {"STT_ALLOWED_SOURCES": "*", "STT_ALLOWED_WEBHOOKS": "*", "STT_WEBHOOK_SECRET": "x" * 24}
LOGIN = "ann:s3cret"


@asynccontextmanager
async def web_server(scheme: str, folder: Path) -> AsyncIterator[tuple[str, list[web.Request], dict[str, str]]]:
    """Run a server for downloads and webhooks at files.test, a name that only the proxy resolves. Yields its address,
    its requests, and the settings with which its certificate is trusted."""
    requests: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request)
        target = request.query.get("to", "")
        return web.Response(status=302, headers={"Location": target}) if target else web.Response(text="content")

    async with serving(answering(answer)) as url:
        if scheme == "http":
            yield url.replace("127.0.0.1", "files.test"), requests, {}
            return
        authority = TestAuthority(folder)
        async with tls_in_front(url, authority.server("files.test")) as port:
            yield f"https://files.test:{port}", requests, {"STT_CA_FILE": str(authority.ca_file)}


async def download(url: str, settings: Settings) -> bytes:
    async with read(parse(url), 0, None, settings) as body:
        return b"".join([chunk async for chunk in body.chunks])


async def post(url: str, settings: Settings) -> SendResult:
    return await WebhookSender(settings).send(parse(url), "msg_1", b"{}", 0)


def running(login: str = "") -> ForwardProxy:
    return ForwardProxy(hosts=("files.test",), login=login)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5h"])
async def test_through_a_proxy_with_a_login(kind: str, scheme: str, tmp_path: Path) -> None:
    async with forward_proxy(running(LOGIN)) as proxy, web_server(scheme, tmp_path) as (url, requests, trust):
        settings = load({**ALLOWED, **trust, "STT_PROXY": proxy.url(kind, LOGIN)})
        assert await download(f"{url}/a.wav", settings) == b"content"
        assert await post(f"{url}/hook", settings) == SendResult(True)
        assert [request.method for request in requests] == ["GET", "POST"]
        assert len(proxy.requests) == len(proxy.logins) == 2
        assert not [request for request in requests if "Proxy-Authorization" in request.headers]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5h"])
async def test_faults_of_the_proxy_are_named(kind: str, scheme: str) -> None:
    url = f"{scheme}://files.test/a?signature=secret-part"
    async with forward_proxy(running(LOGIN)) as proxy:
        cases = [
            (proxy.url(kind, "ann:wrong-s3cret"), "refuses the login"),
            (f"{kind}://127.0.0.1:1", f"the proxy {kind}://127.0.0.1:1 (STT_PROXY): cannot be reached"),
        ]
        for at, named in cases:
            settings = load({**ALLOWED, "STT_PROXY": at})
            with pytest.raises(SourceUnavailable) as refused:
                await download(url, settings)
            result = await post(url, settings)
            assert (result.delivered, result.final) == (False, False)
            for text in (str(refused.value), result.reason):
                assert named in text
                assert "STT_PROXY" in text
                assert "s3cret" not in text
                assert "secret-part" not in text


@pytest.mark.parametrize("kind", ["http", "socks5h", "socks5"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::ffff:10.0.0.1]", "localhost", "metadata.google.internal"]
)
async def test_private_addresses_stay_refused_through_a_proxy(host: str, kind: str) -> None:
    """Private addresses are refused if the allow-list has an entry for a domain or for another host, and if there is no
    list."""
    async with forward_proxy(running()) as proxy:
        for listed in ("", "https://files.test, https://*.internal"):
            settings = load({
                **ALLOWED, "STT_PROXY": proxy.url(kind), "STT_ALLOWED_SOURCES": listed, "STT_ALLOWED_WEBHOOKS": listed,
            })  # fmt: skip
            with pytest.raises(SourceRefused):
                await download(f"https://{host}/x", settings)
            assert (await post(f"https://{host}/x", settings)).final
        assert proxy.requests == []


@pytest.mark.parametrize("kind", ["http", "socks5h", "socks5"])
async def test_without_a_list_nothing_is_sent_to_a_proxy(kind: str) -> None:
    async with forward_proxy(running()) as proxy:
        settings = load({"STT_PROXY": proxy.url(kind), "STT_WEBHOOK_SECRET": "x" * 24})
        with pytest.raises(SourceRefused, match=r"through a proxy \(STT_PROXY\).*STT_ALLOWED_SOURCES"):
            await download("https://files.test/a", settings)
        result = await post("https://files.test/a", settings)
        assert result.final
        assert "STT_ALLOWED_WEBHOOKS" in result.reason
        assert proxy.requests == []


async def test_a_redirect_through_a_proxy_is_checked_like_the_first_address(tmp_path: Path) -> None:
    async with forward_proxy(running()) as proxy, web_server("http", tmp_path) as (url, requests, _):
        settings = load({**ALLOWED, "STT_PROXY": proxy.url(), "STT_ALLOWED_SOURCES": url})
        for target in ("http://169.254.169.254/", "http://127.0.0.1:1/", "http://other.test/"):
            with pytest.raises(SourceError):
                await download(f"{url}/a?to={target}", settings)
        assert len(requests) == len(proxy.requests) == 3


async def test_no_proxy_leads_back_to_the_checked_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in NO_PROXY is reached directly, so its IP address is checked again."""
    monkeypatch.setenv("NO_PROXY", "localhost.test, 10.0.0.0/8")
    async with forward_proxy(running()) as proxy:
        settings = load({**ALLOWED, "STT_ALLOWED_SOURCES": "", "STT_PROXY": proxy.url()})
        with pytest.raises(SourceRefused, match="private address"):
            await download("http://10.0.0.1/", settings)
        assert proxy.requests == []
