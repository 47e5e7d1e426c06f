"""Packets that the client cannot read: none is lost silently, each ends the session."""

from __future__ import annotations

import pytest
from socketio import packet

from worker.realtime.client_packet import ClientPacket
from worker.realtime.error_table import RetryAction
from worker.realtime.messages import UNREADABLE, ServiceError, parse
from worker.realtime.refusals import of_error


@pytest.mark.parametrize(
    "wire",
    [
        *(
            "42[]",
            '42{"a":1}',
            "42",
            "42null",
            "42[1,2]",
            "42[null]",
            '42["transcript-message",{"text":"no permission"',
            "4",
        ),
        *("45-", '451-["x",{"_placeholder":true,"num":0}]', '452-["x"]', "459999999999-[]", "46-", "4xyz", "47", "49"),
        *('42["a"]x', "42" + "[" * 100_000, "42" + "9" * 200 + '["x"]', b"\xff\xfe", b"", "42NaN"),
    ],
)
def test_an_unreadable_packet_ends_the_session(wire: str | bytes) -> None:
    read = ClientPacket(encoded_packet=wire[1:] if isinstance(wire, str) else wire)
    assert (read.packet_type, read.data, read.namespace, read.id) == (packet.EVENT, [UNREADABLE], None, None)
    assert read.attachment_count == 0
    message = parse(*read.data)
    assert isinstance(message, ServiceError)
    assert of_error(message.name, message.text).action is RetryAction.RETRY


@pytest.mark.parametrize(
    ("wire", "kind", "data"),
    [
        ('2["e",{"a":1}]', packet.EVENT, ["e", {"a": 1}]),
        ('0{"sid":"b"}', packet.CONNECT, {"sid": "b"}),
        ("1", packet.DISCONNECT, None),
        ('4{"message":"Invalid API key"}', packet.CONNECT_ERROR, {"message": "Invalid API key"}),
        ("4{broken", packet.CONNECT_ERROR, "{broken"),
        ("4Invalid API key", packet.CONNECT_ERROR, "Invalid API key"),
    ],
)
def test_a_readable_packet(wire: str, kind: int, data: object) -> None:
    read = ClientPacket(encoded_packet=wire)
    assert (read.packet_type, read.data) == (kind, data)
