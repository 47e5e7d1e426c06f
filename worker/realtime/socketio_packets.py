"""Socket.IO packets with a limit on the attachments that python-socketio buffers."""

from __future__ import annotations

from typing import Any

from socketio.packet import Packet


class BoundedPacket(Packet):  # type: ignore[misc]
    """A packet with at most one binary attachment.

    python-socketio buffers the attachments of a packet until all of them have arrived. A packet may announce
    9,999,999,999 attachments, so one peer could exhaust the memory of the other. The API has no event with binary data.
    A single attachment is accepted nevertheless: it needs no buffer, and the server can then answer the event with an
    error.
    """

    def decode(self, encoded_packet: Any) -> int:
        """Parse a packet and return the number of attachments. Raises ValueError for more than one."""
        attachments = int(super().decode(encoded_packet))
        if attachments > 1:
            raise ValueError(f"a packet with {attachments} binary attachments: the API has no binary data")
        return attachments
