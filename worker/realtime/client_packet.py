"""The Socket.IO packets of the client. A packet that cannot be read becomes an event, so that the session ends.

python-socketio raises an exception in a task of its own for such a packet. The packet would be lost without a trace,
with the words in it.
"""

from __future__ import annotations

from typing import Any, Final

from socketio import packet

from worker.realtime.messages import UNREADABLE
from worker.realtime.old_protocol import REFUSAL
from worker.realtime.socketio_packets import BoundedPacket

_ERRORS: Final = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
_READ: Final = (packet.CONNECT, packet.DISCONNECT, packet.EVENT, packet.ACK, packet.CONNECT_ERROR)
"""Types of packets that the client reads. The API has no binary data."""


class ClientPacket(BoundedPacket):
    """A packet that a client receives or sends.

    A server of Socket.IO 3 or later confirms a connection with a `sid`; an older server does not. python-socketio would
    accept the packet of an older server, so this class turns that packet into a refusal."""

    packet_type: Any
    data: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if kwargs.get("encoded_packet") in ("", b""):  # python-socketio does not decode it
            self._replace("")

    def decode(self, encoded_packet: Any) -> int:
        try:
            super().decode(encoded_packet)
        except _ERRORS:
            self._replace(encoded_packet)
            return 0
        kind, data = self.packet_type, self.data
        if kind == packet.CONNECT and not (isinstance(data, dict) and "sid" in data):
            self.packet_type, self.data = packet.CONNECT_ERROR, REFUSAL
        elif kind not in _READ or (kind == packet.EVENT and not _is_event(data)):
            self._replace(encoded_packet)
        return 0

    def _replace(self, encoded_packet: Any) -> None:
        """Make this packet an event UNREADABLE, or a refusal if its type is readable and that of a refusal."""
        text = encoded_packet if isinstance(encoded_packet, str) else "binary data"
        self.namespace, self.id = None, None
        if text.startswith(str(packet.CONNECT_ERROR)):
            self.packet_type, self.data = packet.CONNECT_ERROR, text[1:]
        else:
            self.packet_type, self.data = packet.EVENT, [UNREADABLE]


def _is_event(data: object) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], str)


__all__ = ["ClientPacket"]
