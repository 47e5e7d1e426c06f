"""Packets that a client may not send, or that are malformed, are refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from socketio.packet import BINARY_EVENT, CONNECT, EVENT

from tests.support.error_names import ERROR_NAMES
from worker.realtime import json_codec
from worker.realtime.socketio_packets import BoundedPacket
from worker.server.client_packets import PacketRefused, parse, with_attachment
from worker.server.request_bodies import problem_with_packets


@pytest.fixture(autouse=True)
def codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the JSON module of the server."""
    monkeypatch.setattr(BoundedPacket, "json", json_codec)


@pytest.mark.parametrize(
    "data",
    [
        *("", "x", "9", "²", "-", "2[", "2", "2null", "2[]", "2{}", '2"x"', "2[null]", "2[1,2]", '2[{"a":1}]', "2[[]]"),
        *('2["a"', "2" + "[" * 50_000 + "]" * 50_000, '2["a"]]', '29999["a"', f'2{"9" * 101}["a"]'),
        # Attachments that do not fit the type.
        *("5", "6", "5[]", '50-["a"]', '5["a"]', '52-["a"]', '59999999999-["a"]', '51-[{"_placeholder":true,"num":0}]'),
        *('21-["a"]', "31-[]", "4{}", '4{"message":"x"}'),
        # Names of events that would reach internal handlers.
        *('2["connect"]', '2["disconnect"]', '2["disconnect","x"]', '21["connect_error"]', '2["*"]', '51-["connect"]'),
        *('2["disconnecting"]', '2["newListener"]', '2["removeListener"]', '2["__disconnect_final"]'),
        # Other namespaces.
        *('2/foo,["a"]', '21/foo,["a"]', f"0/{'x' * 1000},", "2/\n\u202e,[]"),
        # python-engineio decodes some messages as JSON, and binary messages as bytes.
        *(b"", b"\x00", None, [], ["a"], {}, {"a": 1}, 1, True),
    ],
)  # fmt: skip
def test_a_malformed_packet_is_refused_with_a_documented_error(data: Any) -> None:
    with pytest.raises(PacketRefused) as caught:
        parse(data)
    text = str(caught.value)
    assert text.partition(":")[0] in ERROR_NAMES
    assert text.isprintable()
    assert len(text) < 400


@given(st.one_of(st.text(), st.binary(), st.text('0123456789-/,[]{}":a')))
@settings(max_examples=100)
def test_no_data_raises_another_error(data: str | bytes) -> None:
    try:
        packet = parse(data)
        if packet.attachment_count:
            with_attachment(packet, b"x")
    except PacketRefused:
        return
    assert packet.packet_type is not None


@pytest.mark.parametrize(
    ("data", "kind", "id_", "content"),
    [
        ("0", CONNECT, None, None),
        ('0{"token":"x"}', CONNECT, None, {"token": "x"}),
        ('2["a",{"b":1}]', EVENT, None, ["a", {"b": 1}]),
        ('217["no-such-event"]', EVENT, 17, ["no-such-event"]),
        ('2/,["a"]', EVENT, None, ["a"]),
    ],
)
def test_a_valid_packet_is_parsed(data: str, kind: int, id_: int | None, content: Any) -> None:
    packet = parse(data)
    assert (packet.packet_type, packet.id, packet.data) == (kind, id_, content)


def test_an_event_gets_its_attachment() -> None:
    packet = with_attachment(parse('51-["a",{"_placeholder":true,"num":0}]'), b"x")
    assert (packet.packet_type, packet.data) == (BINARY_EVENT, ["a", b"x"])


@pytest.mark.parametrize("number", ["1", "5", '"x"', "null", "[]", "1.5"])
def test_an_event_that_names_another_attachment_is_refused(number: str) -> None:
    packet = parse(f'51-["a",{{"_placeholder":true,"num":{number}}}]')
    with pytest.raises(PacketRefused, match=r"^input_error: "):
        with_attachment(packet, b"x")


@pytest.mark.parametrize("body", [b"0", b"2", b"2probe", b"5", b"6", b"7", b"4x\x1e6", b"6\x1e4x", b"4x\x1e", b"\xff"])
def test_a_body_with_a_packet_that_a_client_may_not_send_is_refused(body: bytes) -> None:
    assert problem_with_packets(body)


@pytest.mark.parametrize("body", [b"", b"1", b"3", b"40", b"40\x1e3", b'42["a"]\x1e1', b"bAAAA"])
def test_a_body_with_packets_of_clients_is_accepted(body: bytes) -> None:
    assert problem_with_packets(body) is None
