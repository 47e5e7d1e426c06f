"""Checks of the packets of clients: the types that Engine.IO 4 allows, and the content of Socket.IO packets. No I/O."""

from __future__ import annotations

from typing import Final

from engineio.packet import CLOSE, MESSAGE, PONG
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, DISCONNECT, EVENT, Packet, packet_names

from worker.realtime.socketio_packets import BoundedPacket
from worker.text_escaping import printable

ENGINE_TYPES: Final = frozenset({CLOSE, PONG, MESSAGE})
"""Types of the Engine.IO packets that a client may send, except for the upgrade to a websocket. In Engine.IO 4 only the
server sends OPEN, PING and NOOP."""
NAMESPACE: Final = "/"
"""The only namespace of the service."""
EVENT_TYPES: Final = frozenset({EVENT, BINARY_EVENT})
_BINARY_TYPES: Final = frozenset({BINARY_EVENT, BINARY_ACK})
_TYPES: Final = EVENT_TYPES | _BINARY_TYPES | {CONNECT, DISCONNECT, ACK}
# The names that the official client and python-socketio reserve. With some of them, python-socketio would call internal
# handlers.
_RESERVED_EVENTS: Final = frozenset(
    {
        *("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"),
        *("*", "__disconnect_final"),
    }
)


class PacketRefused(Exception):
    """A packet of a client is invalid. The text is sent to the client as the `error` of a session-error."""


def parse(data: object) -> Packet:
    """Parse the data of an Engine.IO message as a Socket.IO packet. If the packet announces an attachment
    (`attachment_count`), it is the next message, which is for `with_attachment`.

    Raises PacketRefused if the packet is invalid, or if a client may not send it.
    """
    # A binary message is an attachment, which no packet has announced. python-engineio decodes other types as JSON.
    if not isinstance(data, str) or not data:
        raise PacketRefused("input_error: the message is not a Socket.IO packet")
    try:
        packet = BoundedPacket(encoded_packet=data)
    except Exception as exc:  # noqa: BLE001  the library raises errors of many kinds for an invalid packet
        raise PacketRefused(f"input_error: the message is not a Socket.IO packet: {_reason(exc)}") from None
    kind = packet.packet_type
    if kind not in _TYPES:
        name = packet_names[kind] if kind < len(packet_names) else kind
        raise PacketRefused(f"input_error: a client may not send a Socket.IO packet of type {name}")
    if (kind in _BINARY_TYPES) != bool(packet.attachment_count):
        raise PacketRefused("input_error: the number of attachments does not fit the type of the Socket.IO packet")
    if kind in EVENT_TYPES:
        _check_event(packet)
    return packet


def with_attachment(packet: Packet, data: bytes) -> Packet:
    """Return `packet` with its binary attachment. Raises PacketRefused if the packet names another attachment."""
    try:
        packet.add_attachment(data)
    except Exception as exc:  # noqa: BLE001  the library raises errors of many kinds for an invalid placeholder
        raise PacketRefused(f"input_error: the binary attachment of an event is invalid: {_reason(exc)}") from None
    return packet


def _check_event(packet: Packet) -> None:
    namespace, data = packet.namespace or NAMESPACE, packet.data
    if namespace != NAMESPACE:
        raise PacketRefused(f"invalid_request: there is no namespace {printable(namespace)}")
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise PacketRefused("input_error: an event must be a list that starts with the name of the event")
    if data[0] in _RESERVED_EVENTS:
        raise PacketRefused(f"invalid_request: the event name {data[0]} is reserved")


def _reason(error: Exception) -> str:
    return printable(str(error))[:200] or type(error).__name__
