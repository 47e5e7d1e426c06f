"""The HTTP responses of the self-hosted service: 200, 401 and 500 for polling and websocket, /healthz, and large
bodies."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.support.service import HEADERS, KEY, GatedRecognizer, caller, service, tones
from tests.support.tone_recognizer import ToneRecognizer
from worker import settings
from worker.errors import EndpointUnavailable, ModelUnavailable, SettingsError
from worker.realtime.messages import KEY_HEADER, PATH, TRANSCRIPT
from worker.server.app import RunningServer, start

POLLING = f"{PATH}/?EIO=4&transport=polling"
WEBSOCKET = f"{PATH}/?EIO=4&transport=websocket"


async def knock(server: RunningServer, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """Make a handshake. Returns the status and the JSON body. With `websocket`, the request is a real upgrade, which is
    accepted with 101."""
    if path.startswith(WEBSOCKET):
        headers = {
            **headers,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
    async with aiohttp.ClientSession() as session, session.get(server.url + path, headers=headers) as answer:
        body = await answer.json() if answer.content_type == "application/json" else None
        return answer.status, body


@pytest.mark.parametrize("path", [POLLING, WEBSOCKET])
async def test_without_a_key_the_handshake_is_401_with_the_reason(path: str) -> None:
    async with service() as server:
        status, body = await knock(server, path, {})
        assert status == 401
        assert body["error"] == "auth_error"
        assert KEY_HEADER in body["message"]


@pytest.mark.parametrize("path", [POLLING, WEBSOCKET])
@pytest.mark.parametrize("key", ["wrong", KEY + "x", KEY[:-1], "schlüssel", KEY.upper()])
async def test_with_a_wrong_key_the_handshake_is_401(path: str, key: str) -> None:
    async with service() as server:
        status, body = await knock(server, path, {KEY_HEADER: key})
        assert (status, body["error"]) == (401, "auth_error")
        assert key not in body["message"]


@pytest.mark.parametrize("slash", ["/", ""])
async def test_with_a_key_the_handshake_is_200(slash: str) -> None:
    async with service(server_api_keys=f"other, {KEY}") as server:
        assert (await knock(server, f"{PATH}{slash}?EIO=4&transport=polling", HEADERS))[0] == 200
        assert (await knock(server, WEBSOCKET, HEADERS))[0] == 101


async def test_the_key_of_the_client_settings_is_the_default() -> None:
    async with service(server_api_keys="", api_key="client-key") as server:
        assert (await knock(server, POLLING, {KEY_HEADER: "client-key"}))[0] == 200


async def test_without_any_key_configured_nothing_starts() -> None:
    with pytest.raises(SettingsError, match="STT_SERVER_API_KEYS"):
        await start(settings.load({}, server_port=0), ToneRecognizer())


async def test_a_taken_port_is_a_clear_error() -> None:
    async with service() as server:
        with pytest.raises(EndpointUnavailable, match=f"cannot listen on 127.0.0.1:{server.port}.*STT_SERVER_PORT"):
            await start(settings.load({}, server_port=server.port, server_api_keys=KEY), ToneRecognizer())


def _not_there() -> ToneRecognizer:
    raise ModelUnavailable("model huge: not installed; pip install it")


@pytest.mark.parametrize("path", [POLLING, WEBSOCKET])
async def test_a_recognizer_that_cannot_be_loaded_is_500_with_the_reason(path: str) -> None:
    async with service(_not_there) as server:
        with pytest.raises(ModelUnavailable):
            await server.ready()
        status, body = await knock(server, path, HEADERS)
        assert status == 500
        assert "pip install it" in body["message"]
        assert (await knock(server, path, {}))[0] == 401
        status, body = await knock(server, "/healthz", {})
        assert (status, body["status"]) == (503, "unavailable")


async def test_a_handshake_waits_for_a_recognizer_that_loads() -> None:
    gated = GatedRecognizer()

    def load() -> GatedRecognizer:
        gated.gate.wait(10)
        return gated

    async with service(load) as server:
        assert (await knock(server, "/healthz", {}))[0] == 503
        gated.gate.set()
        assert (await knock(server, POLLING, HEADERS))[0] == 200
        assert (await knock(server, "/healthz", {}))[0] == 200


async def test_a_recognizer_that_keeps_failing_is_500() -> None:
    gated = GatedRecognizer()
    gated.gate.set()
    gated.failure = RuntimeError("out of memory")
    _, pcm = tones(4)
    async with service(gated) as server:
        for _ in range(3):
            async with caller(server) as one:
                await one.start()
                await one.say(pcm)
                closed = await one.finish()
                assert closed["code"] == 1011
                assert one.errors == ["transcriber_error: out of memory"]
        for path in (POLLING, WEBSOCKET):
            status, body = await knock(server, path, HEADERS)
            assert status == 500
            assert "out of memory" in body["message"]


async def test_healthz_says_what_the_server_is_doing() -> None:
    async with service() as server, caller(server) as one:
        await one.start()
        status, body = await knock(server, "/healthz", {})
        assert status == 200
        assert body["status"] == "ok"
        assert body["model"] == "tones"
        assert body["sessions"] == 1


async def test_a_browser_may_ask_whether_it_may_send_the_key() -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": KEY_HEADER,
    }
    async with service() as server, aiohttp.ClientSession() as session:
        async with session.options(server.url + POLLING, headers=asked) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Headers"] == KEY_HEADER
        wrong = {"Origin": "https://app.example", KEY_HEADER: "wrong"}
        async with session.get(server.url + POLLING, headers=wrong) as answer:
            assert answer.status == 401
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_connections_are_bounded_from_the_handshake_on() -> None:
    async with service(server_max_sessions=1) as server:
        statuses = [(await knock(server, POLLING, HEADERS))[0] for _ in range(5)]
        assert statuses == [200, 200, 200, 200, 429], "whether or not the clients join the namespace"
        assert server._sockets.sockets == 4
        for path in (WEBSOCKET, f"{POLLING}&sid=", f"{POLLING}&SID=x"):
            assert (await knock(server, path, HEADERS))[0] in (400, 429)
        status, body = await knock(server, POLLING, HEADERS)
        assert (status, body["error"]) == (429, "resource_exhausted")


async def test_messages_far_over_one_read_arrive_whole_over_polling() -> None:
    words, pcm = tones(30)
    async with service() as server, caller(server, "polling") as one:
        await one.start()
        await one.say(pcm, chunk_s=8)
        assert (await one.finish())["code"] == 1000
        assert one.errors == []
        assert [w["text"] for w in one.words] == [w.text for w in words]
        assert one.named(TRANSCRIPT)
