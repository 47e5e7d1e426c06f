"""The Socket.IO server of the service: python-socketio, which answers every packet that it cannot process.

python-socketio 5.18 passes the content of a packet to the event handlers without checks. An invalid packet raises an
error of any kind, which python-engineio logs, and the client waits for an answer. Events named `connect` or
`disconnect` reach the internal handlers. A packet with a missing attachment makes the connection ignore the following
packets.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import engineio
import socketio
import structlog
from engineio.payload import Payload
from socketio.packet import CONNECT, CONNECT_ERROR, DISCONNECT

from worker.realtime import json_codec
from worker.realtime.socketio_packets import BoundedPacket
from worker.server.client_packets import EVENT_TYPES, NAMESPACE, PacketRefused, parse, with_attachment
from worker.server.request_bodies import MAX_BODY_BYTES
from worker.server.session_limits import MAX_REFUSED_MESSAGES

_log = structlog.get_logger("worker.server")

MAX_UNREAD: Final = 1000
"""Maximum number of messages that wait until a client reads them. A client with more is disconnected: without a limit,
the queue of a client that does not read its messages would grow forever."""
MAX_REFUSED_PACKETS: Final = 2 * MAX_REFUSED_MESSAGES
"""Number of refused packets after which a connection is closed. A session ends earlier, and the client gets the
reason."""
# Maximum of packets in one polling request. Python-engineio's default of 16 is less than a burst of a fast client. More
# than these would occupy the event loop for a second.
_MAX_PAYLOAD_PACKETS: Final = 10_000
OnRefused = Callable[[str, str], Awaitable[None]]


class EngineIoServer(engineio.AsyncServer):  # type: ignore[misc]  # it ships no types
    """The server of python-engineio. It never waits until a client reads the messages of a connection that it
    closes."""

    async def disconnect(self, sid: str | None = None) -> None:
        """Close one connection, or all connections. A waiting poll gets the packet CLOSE.

        In python-engineio, this waits until the queue of the connection is empty. That is forever if no poll is waiting
        and the client sends no further one.
        """
        for one in list(self.sockets) if sid is None else [sid]:
            socket = self.sockets.get(one)
            if socket is not None:
                await socket.close(wait=False, reason=self.reason.SERVER_DISCONNECT)
                self.sockets.pop(one, None)


class SocketIoServer(socketio.AsyncServer):  # type: ignore[misc]  # it ships no types
    """The server of python-socketio. It checks each packet before the event handlers get it."""

    on_refused: OnRefused
    """Answers a client that has joined the namespace. The arguments are the id of the client and the reason."""

    def _engineio_server_class(self) -> type[EngineIoServer]:
        return EngineIoServer

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        pending = self._binary_packet.pop(eio_sid, None)
        if pending is not None and not isinstance(data, bytes):
            await self._refuse(eio_sid, "input_error: the binary attachment of an event is missing")
            pending = None
        # The connection is closed already if packets follow the packet CLOSE in one body, or after too many refused
        # packets. For a CONNECT on a closed connection, python-socketio would create a state that it never removes.
        if eio_sid not in self.environ:
            return
        try:
            packet = parse(data) if pending is None else with_attachment(pending, data)
        except PacketRefused as exc:
            await self._refuse(eio_sid, str(exc))
            return
        if len(packet.attachments) < packet.attachment_count:
            self._binary_packet[eio_sid] = packet
        else:
            await self._dispatch(eio_sid, packet)

    async def _dispatch(self, eio_sid: str, packet: Any) -> None:
        if packet.packet_type == CONNECT:
            await self._handle_connect(eio_sid, packet.namespace, packet.data)
        elif packet.packet_type == DISCONNECT:
            await self._handle_disconnect(eio_sid, packet.namespace, self.reason.CLIENT_DISCONNECT)
        elif packet.packet_type in EVENT_TYPES:
            await self._handle_event(eio_sid, packet.namespace, packet.id, packet.data)
        # The service asks for no acknowledgement, and python-socketio would log a warning for each.

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        # python-socketio removes it only for a client that has joined the namespace.
        self._binary_packet.pop(eio_sid, None)

    async def _refuse(self, eio_sid: str, problem: str) -> None:
        """Answer an invalid packet, and close the connection after too many of them."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is None:
            return
        _log.warning("message refused", problem=problem)
        refused = socket.session["refused"] = socket.session.get("refused", 0) + 1
        sid = self.manager.sid_from_eio_sid(eio_sid, NAMESPACE)
        if refused >= MAX_REFUSED_PACKETS:
            _log.warning("connection closed: too many of its messages were refused", refused=refused)
            await self.eio.disconnect(eio_sid)
        elif sid is not None and self.manager.is_connected(sid, NAMESPACE):
            await self.on_refused(sid, problem)
        else:
            # A client that has not joined the namespace gets no events.
            await self._send_packet(eio_sid, self.packet_class(CONNECT_ERROR, data={"message": problem}))

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and socket.queue.qsize() > MAX_UNREAD:
            _log.warning("connection closed: the client does not read its messages", unread=socket.queue.qsize())
            await self.eio.disconnect(eio_sid)
            return
        # The answer to an unknown namespace is an object, as in the official server, because clients in other languages
        # expect the field `message`.
        if pkt.packet_type == CONNECT_ERROR and isinstance(pkt.data, str):
            pkt.data = {"message": "Invalid namespace"}
        await super()._send_packet(eio_sid, pkt)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Replace a traceback of the library in a log record by one line, so that clients with invalid packets cannot flood
    the log. Used as a log filter; returns True, so that the record is logged."""
    if record.exc_info and (error := record.exc_info[1]) is not None:
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}: {error}"[:300], ()
        record.exc_info = None
    return True


def create_socketio_server() -> SocketIoServer:
    """Return a server without event handlers. Its `on_refused` must be set before it serves requests."""
    Payload.max_decode_packets = _MAX_PAYLOAD_PACKETS
    # Without a logger from the caller, the libraries print every invalid message to standard error.
    library_log = logging.getLogger("worker.server.socketio")
    library_log.addHandler(logging.NullHandler())
    library_log.setLevel(logging.WARNING)
    library_log.addFilter(_in_one_line)
    return SocketIoServer(
        async_mode="aiohttp",
        # Events are handled in the connection's read loop, in order: a slow handler slows its client.
        async_handlers=False,
        json=json_codec,
        serializer=BoundedPacket,
        max_http_buffer_size=MAX_BODY_BYTES,
        # Pages of every origin may connect: a browser never adds the key header itself, so a page needs its own key.
        cors_allowed_origins="*",
        cors_credentials=False,
        logger=library_log,
        engineio_logger=library_log,
    )
