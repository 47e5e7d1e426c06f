"""The service behind proxies of other projects. Each word is transcribed once, or the error names the reason."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.support.audiofiles import write_signal, write_words
from tests.support.node_env import missing, node_modules, run_node_server
from tests.support.pipeline_run import KEY, assert_said, tone_service, transcribe
from tests.support.real_proxies import UPGRADE, nginx, real_proxy
from tests.support.tls_proxy import TestAuthority, tls_in_front
from tests.support.tones import speech
from worker.errors import EndpointError
from worker.realtime import client
from worker.settings import Settings, load

__all__ = ["node_modules"]

pytestmark = pytest.mark.matrix
WORDS = list(speech(4.0, seed=8))
HOST = socket.gethostname()
"""A name of this machine that is no loopback name, so the proxy is used, and that proxies can resolve."""
FORWARD = ("squid", "tinyproxy", "proxy.py")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_words(tmp_path / "words.wav", WORDS, 16000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "proxy"
    made.mkdir()
    return made


def settings_for(url: str, **more: str) -> Settings:
    return load({"STT_URL": url, "STT_API_KEY": KEY, "STT_CONNECT_TIMEOUT_S": "5", **more})


def skip_without(kind: str) -> None:
    try:
        socket.getaddrinfo(HOST, 80)
    except OSError:
        pytest.skip("the name of this machine has no address")
    if kind == "proxy.py" and importlib.util.find_spec("proxy") is None:
        missing("proxy.py is not installed")


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", FORWARD)
async def test_forward_proxies_with_a_login(
    kind: str, scheme: str, transport: str, recording: Path, folder: Path
) -> None:
    skip_without(kind)
    authority = TestAuthority(folder / "ca")
    async with tone_service(STT_SERVER_HOST="0.0.0.0") as service:  # noqa: S104  the proxy resolves the machine's name
        plain = int(service.url.rpartition(":")[2])
        async with tls_in_front(f"http://127.0.0.1:{plain}", authority.server(HOST), "0.0.0.0") as encrypted:  # noqa: S104
            port = plain if scheme == "http" else encrypted
            with real_proxy(kind, folder, port) as (proxy, log):
                settings = settings_for(
                    f"{scheme}://{HOST}:{port}",
                    STT_PROXY=proxy, STT_CA_FILE=str(authority.ca_file), STT_TRANSPORT=transport,
                )  # fmt: skip
                assert_said(await transcribe(recording, settings), WORDS)
                used = await client.check(settings.url, settings.api_key, settings)
                assert used == ("polling" if transport == "polling" else "websocket")
                named = r"(?=.*the proxy http://127)(?=.*login)(?=.*HTTP 40[17])"
                for wrong in (proxy.replace("s3cret", "wrong-pass"), proxy.replace("ann:s3cret@", "")):
                    refused = settings.model_copy(update={"proxy": wrong})
                    with pytest.raises(EndpointError, match=named) as caught:
                        await client.check(refused.url, refused.api_key, refused)
                    assert "wrong-pass" not in str(caught.value)
                assert log.exists()


@pytest.mark.parametrize("kind", FORWARD[:2])
async def test_polling_where_tunnels_lead_to_443_only(kind: str, recording: Path, folder: Path) -> None:
    """The default of squid and tinyproxy: a websocket to another port is refused, forwarded requests are not."""
    skip_without(kind)
    async with tone_service(STT_SERVER_HOST="0.0.0.0") as service:  # noqa: S104  as above
        with real_proxy(kind, folder) as (proxy, _):
            port = service.url.rpartition(":")[2]
            settings = settings_for(f"http://{HOST}:{port}", STT_PROXY=proxy)
            assert_said(await transcribe(recording, settings), WORDS)
            assert await client.check(settings.url, settings.api_key, settings) == "polling"


@pytest.mark.parametrize("transport", ["auto", "polling"])
@pytest.mark.parametrize(
    ("options", "prefix", "websocket"),
    [
        (UPGRADE, "", True),
        (UPGRADE, "/speech", True),
        ("", "", False),
        ("", "/a/b", False),
        ("proxy_buffering on; proxy_request_buffering on; proxy_buffers 4 4k; proxy_busy_buffers_size 4k;", "", False),
        (f"{UPGRADE} proxy_read_timeout 2s; proxy_send_timeout 2s;", "", True),
        (f"{UPGRADE} client_max_body_size 1k;", "", True),
    ],
    ids=["ordinary", "prefix", "no upgrade", "no upgrade, prefix", "buffering", "read timeout", "body limit"],
)
async def test_nginx(options: str, prefix: str, websocket: bool, transport: str, recording: Path, folder: Path) -> None:
    async with tone_service() as service:
        with nginx(folder, service.url, options, prefix) as url:
            settings = settings_for(url, STT_TRANSPORT=transport, STT_SESSION_RETRIES="1")
            expected = "websocket" if websocket and transport == "auto" else "polling"
            assert await client.check(settings.url, settings.api_key, settings) == expected
            if "client_max_body_size" in options and expected == "polling":
                with pytest.raises(EndpointError, match="HTTP 413"):
                    await transcribe(recording, settings)
            else:
                assert_said(await transcribe(recording, settings, speed=4.0), WORDS)


# -- the official servers --------------------------------------------------------------------------------------------


@pytest.mark.node
@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
@pytest.mark.parametrize("version", ["-3", ""])
async def test_the_official_servers(node_modules: Path, version: str, transport: str, tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(10 * 16000) / 16000)
    recording = write_signal(tmp_path / "tone.wav", tone[:, None], 16000)
    with run_node_server(node_modules, version=version) as server:
        settings = load({"STT_URL": server.url, "STT_API_KEY": server.key, "STT_TRANSPORT": transport})
        transcript = await transcribe(recording, settings)
    words = [word.text for segment in transcript.segments for word in segment.words]
    assert words == [f"word{number}" for number in range(len(words))]
    assert len(words) >= 10


@pytest.mark.node
@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
async def test_the_official_server_of_version_2_is_named(node_modules: Path, transport: str) -> None:
    with run_node_server(node_modules, version="-2") as server:
        settings = load({"STT_URL": server.url, "STT_API_KEY": server.key, "STT_TRANSPORT": transport})
        with pytest.raises(EndpointError, match=r"speaks Engine\.IO 3 \(Socket\.IO 2 or older\)"):
            await client.check(settings.url, settings.api_key, settings)
