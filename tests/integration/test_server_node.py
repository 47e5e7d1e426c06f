"""The official Node client through the flow of the API page, against our service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from socketio.exceptions import ConnectionError as SocketError

from tests.support.node_env import NodeServer, node_modules, node_server
from tests.support.service import KEY, Caller, service, tones
from tests.support.wait import allowed_s
from worker.realtime import messages
from worker.server.app import RunningServer

__all__ = ["node_modules", "node_server"]
pytestmark = pytest.mark.node

POLLING_FIRST = None  # what io() does by itself
WEBSOCKET_ONLY = ["websocket"]
POLLING_ONLY = ["polling"]


async def node_client(folder: Path, server: RunningServer, **options: Any) -> tuple[int, list[dict[str, Any]]]:
    """Run client.mjs. Returns its exit status and the events that it received."""
    given = json.dumps({"url": server.url, **options})
    process = await asyncio.create_subprocess_exec(
        "node", str(folder / "client.mjs"), given, stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), allowed_s(70))
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    ("transports", "transport", "upgrades"),
    [(POLLING_FIRST, "polling", True), (WEBSOCKET_ONLY, "websocket", False), (POLLING_ONLY, "polling", False)],
)
async def test_the_flow_of_the_api_page(
    node_modules: Path, tmp_path: Path, transports: list[str] | None, transport: str, upgrades: bool
) -> None:
    words, pcm = tones(12)
    (tmp_path / "audio.s16le").write_bytes(pcm)
    async with service() as server:
        status, events = await node_client(
            node_modules, server, key=KEY, transports=transports, pcm=str(tmp_path / "audio.s16le"), pause_ms=200
        )
    assert status == 0, events
    names = [event["event"] for event in events]
    assert events[0] == {"event": "open", "transport": transport}
    assert ("upgrade" in names) is upgrades
    assert [e["payload"] for e in events if e["event"] == "session-started"] == [[]]
    said = [e["message"] for e in events if e["event"] == "transcript-message"]
    assert said[0]["message_type"] == messages.TYPE_STARTED
    assert said[0]["session_id"]
    assert any(m["message_type"] == messages.TYPE_PARTIAL and m["text"] for m in said)
    plain = [m for m in said if m["message_type"] == messages.TYPE_COMMITTED]
    timed = [m for m in said if m["message_type"] == messages.TYPE_COMMITTED_TIMED]
    expected = [word.text for word in words]
    assert " ".join(m["text"] for m in plain).split() == expected
    heard = [w for m in timed for w in m["words"] if w["type"] == "word"]
    assert [w["text"] for w in heard] == expected
    for found, spoken in zip(heard, words, strict=True):
        assert abs(found["start"] - spoken.start) < 0.03
    assert "session-error" not in names
    assert events[-1] == {"event": "session-closed", "code": 1000, "reason": "stopped by the client"}


@pytest.mark.parametrize("transports", [POLLING_FIRST, WEBSOCKET_ONLY])
@pytest.mark.parametrize("module", ["socket.io-client-3", "socket.io-client-4.0"])
async def test_older_clients_are_served(
    node_modules: Path, tmp_path: Path, module: str, transports: list[str] | None
) -> None:
    words, pcm = tones(5)
    (tmp_path / "audio.s16le").write_bytes(pcm)
    async with service() as server:
        status, events = await node_client(
            node_modules, server, key=KEY, transports=transports, pcm=str(tmp_path / "audio.s16le"), module=module
        )
    assert status == 0, events
    said = [e["message"] for e in events if e["event"] == "transcript-message"]
    text = " ".join(m["text"] for m in said if m["message_type"] == messages.TYPE_COMMITTED)
    assert text.split() == [word.text for word in words]


async def test_clients_of_socket_io_2_are_refused(node_modules: Path) -> None:
    async with service() as server:
        status, (event,) = await node_client(node_modules, server, key=KEY, module="socket.io-client-2")
    assert status == 3
    assert (event["event"], event["status"]) == ("connect_error", 400)


@pytest.mark.parametrize("transports", [POLLING_FIRST, WEBSOCKET_ONLY, POLLING_ONLY])
async def test_a_page_may_send_its_key_as_a_token(
    node_modules: Path, tmp_path: Path, transports: list[str] | None
) -> None:
    words, pcm = tones(5)
    (tmp_path / "audio.s16le").write_bytes(pcm)
    page = {"origin": "https://example.com", "transports": transports, "pcm": str(tmp_path / "audio.s16le")}
    async with service() as server:
        status, events = await node_client(node_modules, server, token=KEY, **page)
        refused, (*_, event) = await node_client(node_modules, server, token="wrong", **page)
    assert status == 0, events
    said = [e["message"] for e in events if e["event"] == "transcript-message"]
    text = " ".join(m["text"] for m in said if m["message_type"] == messages.TYPE_COMMITTED)
    assert text.split() == [word.text for word in words]
    assert (refused, event["event"]) == (3, "connect_error")
    assert "auth.token" in event["message"]


async def test_several_sessions_on_one_connection(node_modules: Path, tmp_path: Path) -> None:
    words, pcm = tones(5)
    (tmp_path / "audio.s16le").write_bytes(pcm)
    async with service() as server:
        status, events = await node_client(node_modules, server, key=KEY, pcm=str(tmp_path / "audio.s16le"), sessions=3)
    assert status == 0, events
    said = [e["message"] for e in events if e["event"] == "transcript-message"]
    assert len({m["session_id"] for m in said if m["message_type"] == messages.TYPE_STARTED}) == 3
    text = " ".join(m["text"] for m in said if m["message_type"] == messages.TYPE_COMMITTED)
    assert text.split() == [word.text for word in words] * 3


@pytest.mark.parametrize("transports", [POLLING_FIRST, WEBSOCKET_ONLY])
@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.gate_sample(2)
async def test_without_an_accepted_key_the_client_is_told_401(
    node_modules: Path, transports: list[str] | None, key: str | None
) -> None:
    async with service() as server:
        status, events = await node_client(node_modules, server, key=key, transports=transports)
    assert status == 3
    (event,) = events
    assert event["event"] == "connect_error"
    if transports is POLLING_FIRST:
        assert event["status"] == 401
        assert json.loads(event["body"])["error"] == "auth_error"
    else:
        assert "401" in event["detail"]


async def test_the_node_server_speaks_the_same_events(node_server: NodeServer) -> None:
    """The tests of our client use the Node server, so it must behave like our service."""
    _, pcm = tones(12)
    one = Caller()
    await one.connect(node_server.url, key=node_server.key)
    try:
        await one.start()
        await one.say(pcm)
        assert (await one.finish())["code"] == 1000
    finally:
        await one.leave()
    (facts,) = node_server.sessions()
    assert facts["samples"] == len(pcm) // 2
    assert facts["words"] == len(one.words) > 5
    assert facts["errors"] == []
    assert one.text.split() == [word["text"] for word in one.words]


async def test_the_node_server_refuses_a_wrong_key(node_server: NodeServer) -> None:
    with pytest.raises(SocketError, match="401"):
        await Caller().connect(node_server.url, "polling", key="wrong")
    with pytest.raises(SocketError):
        await Caller().connect(node_server.url, "websocket", key="wrong")
