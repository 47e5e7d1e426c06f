"""Socket.IO packets with limits on the attachments that python-socketio buffers, and on the length of a namespace."""

from __future__ import annotations

from typing import Any, Final

from socketio.packet import Packet

MAX_NAMESPACE: Final = 200
"""Maximum length of the name of a namespace. The server repeats the name in its answer, which waits in the memory until
the client reads it."""


class BoundedPacket(Packet):  # type: ignore[misc]
    """A packet with at most one binary attachment, and a namespace of at most `MAX_NAMESPACE` characters.

    python-socketio buffers the attachments of a packet until all of them have arrived. A packet may announce
    9,999,999,999 attachments, so one peer could exhaust the memory of the other. The API has no event with binary data.
    A single attachment is accepted nevertheless: it needs no buffer, and the server can then answer the event with an
    error.
    """

    def decode(self, encoded_packet: Any) -> int:
        """Parse a packet and return the number of attachments. Raises ValueError for more than one, and
        for a namespace that is too long."""
        attachments = int(super().decode(encoded_packet))
        if attachments > 1:
            raise ValueError(f"a packet with {attachments} binary attachments: the API has no binary data")
        if self.namespace is not None and len(self.namespace) > MAX_NAMESPACE:
            raise ValueError(f"the name of the namespace has {len(self.namespace)} characters (limit {MAX_NAMESPACE})")
        return attachments
