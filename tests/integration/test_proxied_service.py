"""The service through proxies: each word once, or the reason with its remedy."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.audiofiles import write_words
from tests.support.forward_proxy import ForwardProxy, forward_proxy
from tests.support.pipeline_run import KEY, assert_said, tone_service, transcribe
from tests.support.tls_proxy import TestAuthority, tls_in_front
from tests.support.tones import speech
from worker.errors import EndpointUnavailable
from worker.realtime import client
from worker.settings import Settings, load

WORDS = list(speech(3.0, seed=4))
LOGIN = "ann:s3cret-wörd"
IN_URL = "ann:s3cret-w%C3%B6rd"
OTHER_SCHEMES = [pytest.param(scheme, marks=pytest.mark.matrix) for scheme in ("http", "wss")]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(few_certificates: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_words(tmp_path / "words.wav", WORDS, 16000)


@asynccontextmanager
async def service_at(scheme: str, folder: Path) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Run the service under a name that only the test's proxy resolves. Yields its address, and the settings with which
    its certificate is trusted."""
    async with tone_service() as settings:
        port = int(settings.url.rpartition(":")[2])
        if scheme in ("http", "ws"):
            yield f"{scheme}://service.test:{port}", {}
            return
        authority = TestAuthority(folder)
        async with tls_in_front(settings.url, authority.server("service.test")) as tls_port:
            yield f"{scheme}://service.test:{tls_port}", {"STT_CA_FILE": str(authority.ca_file)}


def settings_for(url: str, **more: str) -> Settings:
    return load({"STT_URL": url, "STT_API_KEY": KEY, "STT_CONNECT_TIMEOUT_S": "5", **more})


async def reason(settings: Settings) -> str:
    with pytest.raises(EndpointUnavailable) as caught:
        await client.check(settings.url, settings.api_key, settings)
    assert "s3cret" not in str(caught.value)
    assert KEY not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    "scheme", ["ws", "https", *(pytest.param(s, marks=pytest.mark.matrix) for s in ("http", "wss"))]
)
@pytest.mark.parametrize("kind", ["http", "socks5h"])
async def test_every_word_once_through_a_proxy_with_a_login(
    kind: str, scheme: str, transport: str, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, shown = (LOGIN, IN_URL) if kind == "http" else ("ann:s3cret", "ann:s3cret")
    async with forward_proxy(ForwardProxy(login=login)) as proxy, service_at(scheme, tmp_path) as (url, trust):
        name = "HTTPS_PROXY" if scheme in ("https", "wss") else "http_proxy"
        monkeypatch.setenv(name, proxy.url(kind, shown))
        transcript = await transcribe(recording, settings_for(url, STT_TRANSPORT=transport, **trust))
        assert_said(transcript, WORDS)
        assert proxy.requests
        assert set(proxy.logins) == {login}
        assert [line for line in proxy.requests if "service.test" not in line] == []
        forwarded = [line for line in proxy.requests if not line.startswith(("CONNECT ", "SOCKS "))]
        assert bool(forwarded) == (kind == "http" and scheme in ("http", "ws") and transport == "polling")


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "STT_PROXY"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_each_variable_is_used(name: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with forward_proxy() as proxy, service_at(scheme, tmp_path) as (url, trust):
        monkeypatch.setenv(name, proxy.url())
        settings = settings_for(url, **trust, **({name: proxy.url()} if name == "STT_PROXY" else {}))
        assert await client.check(settings.url, settings.api_key, settings) == "websocket"
        assert proxy.requests


async def test_a_name_is_resolved_here_for_socks5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host in ("service.test", b"service.test") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with forward_proxy() as proxy, service_at("ws", tmp_path) as (url, _):
        settings = settings_for(url, STT_PROXY=proxy.url("socks5"))
        assert await client.check(settings.url, settings.api_key, settings) == "websocket"
        assert proxy.requests == [f"SOCKS 127.0.0.1:{url.rpartition(':')[2]}"]


async def test_a_proxy_that_is_reached_over_tls(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    async with forward_proxy(tls=authority.server("127.0.0.1")) as proxy, service_at("ws", tmp_path) as (url, _):
        for transport in ("websocket", "polling"):
            settings = settings_for(
                url, STT_PROXY=proxy.url(), STT_CA_FILE=str(authority.ca_file), STT_TRANSPORT=transport
            )
            assert await client.check(settings.url, settings.api_key, settings) == transport


async def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with forward_proxy() as proxy, tone_service(STT_PROXY=proxy.url()) as settings:
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        await client.check(settings.url, settings.api_key, settings)
        assert proxy.requests == []


@pytest.mark.parametrize("no_proxy", ["*", "service.test", ".test", "other,service.test", "127.0.0.1"])
async def test_no_proxy(no_proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with forward_proxy() as proxy, service_at("ws", tmp_path) as (url, _):
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        monkeypatch.setenv("NO_PROXY", no_proxy)
        settings = settings_for(url)
        if no_proxy == "127.0.0.1":
            await client.check(settings.url, settings.api_key, settings)
        else:
            assert "service.test" in await reason(settings)
        assert bool(proxy.requests) == (no_proxy == "127.0.0.1")


@pytest.mark.parametrize("scheme", ["ws", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5h"])
@pytest.mark.parametrize("login", ["", "ann:s3cret-but-wrong"])
async def test_a_refused_login_is_named(login: str, kind: str, scheme: str, tmp_path: Path) -> None:
    async with forward_proxy(ForwardProxy(login="ann:other")) as proxy:
        said = await reason(settings_for(f"{scheme}://service.test", STT_PROXY=proxy.url(kind, login)))
    need = "requires a login" if not login and kind == "http" else "login"
    assert f"the proxy {kind}://127.0.0.1:{proxy.port}" in said
    assert need in said
    assert "STT_PROXY" in said
    assert ("HTTP 407" in said) == (kind == "http")


@pytest.mark.parametrize("transport", ["auto", "websocket"])
@pytest.mark.parametrize("scheme", ["ws", "https"])
async def test_a_proxy_that_answers_401_to_a_wrong_login(scheme: str, transport: str) -> None:
    """tinyproxy answers in this way. The error must not look like a refused API key, and polling must not be tried."""
    async with forward_proxy(ForwardProxy(answer=401)) as proxy:
        at = {"STT_PROXY": proxy.url(login="ann:s3cret-but-wrong"), "STT_TRANSPORT": transport}
        said = await reason(settings_for(f"{scheme}://service.test", **at))
        assert "refuses the login (HTTP 401" in said
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
@pytest.mark.parametrize("scheme", ["ws", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5h"])
async def test_an_unreachable_proxy_is_named(
    kind: str, scheme: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{kind}://ann:s3cret@127.0.0.1:1")
    said = await reason(settings_for(f"{scheme}://service.test", STT_TRANSPORT=transport))
    assert f"the proxy {kind}://127.0.0.1:1 (ALL_PROXY): cannot be reached: " in said


@pytest.mark.parametrize("kind", ["http", "socks5h"])
async def test_a_proxy_that_answers_nothing_is_named(kind: str) -> None:
    async with forward_proxy(ForwardProxy(silent=True)) as proxy:
        at = {"STT_PROXY": proxy.url(kind), "STT_CONNECT_TIMEOUT_S": "0.4"}
        said = await reason(settings_for("wss://service.test", **at))
    assert f"through the proxy {kind}://127.0.0.1:{proxy.port} (STT_PROXY)" in said or "no answer in time" in said


@pytest.mark.parametrize("scheme", ["ws", "https"])
async def test_a_proxy_that_refuses_or_cannot_reach_the_service(scheme: str) -> None:
    async with forward_proxy(ForwardProxy(answer=403)) as proxy:
        said = await reason(settings_for(f"{scheme}://service.test", STT_PROXY=proxy.url(), STT_TRANSPORT="websocket"))
        assert "refuses connections to service.test (HTTP 403" in said
    async with forward_proxy() as proxy:
        for kind in ("http", "socks5h"):
            settings = settings_for(f"{scheme}://service.test:1", STT_PROXY=proxy.url(kind), STT_TRANSPORT="websocket")
            assert "cannot reach service.test" in await reason(settings)


@pytest.mark.parametrize("value", ["socks4://proxy:1080", "socks4a://proxy", "ftp://proxy", "quic://u:s3cret@proxy"])
async def test_an_unsupported_kind_of_proxy_is_refused_by_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    said = await reason(settings_for("https://service.test"))
    assert f"HTTPS_PROXY: the proxy scheme {value.partition('://')[0]}:// is not supported" in said


async def test_polling_works_where_a_proxy_allows_tunnels_to_443_only(
    recording: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As squid and tinyproxy are configured by default."""
    async with forward_proxy(ForwardProxy(connect_ports=(443,))) as proxy, service_at("ws", tmp_path) as (url, _):
        settings = settings_for(url, STT_PROXY=proxy.url())
        assert_said(await transcribe(recording, settings), WORDS)
        tunnels = [line for line in proxy.requests if line.startswith("CONNECT")]
        assert len(tunnels) == 1
        assert await client.check(settings.url, settings.api_key, settings) == "polling"
        assert len([line for line in proxy.requests if line.startswith("CONNECT")]) == 1, "it is remembered"
    assert "polling is used for 15 min" in caplog.text


async def test_the_key_is_not_sent_to_the_proxy_of_an_encrypted_service(tmp_path: Path) -> None:
    async with forward_proxy(ForwardProxy(login=LOGIN)) as proxy, service_at("https", tmp_path) as (url, trust):
        settings = settings_for(url, STT_PROXY=proxy.url(login=IN_URL), **trust)
        await client.check(settings.url, settings.api_key, settings)
        assert proxy.headers
        assert KEY.encode() not in b"".join(proxy.headers)
