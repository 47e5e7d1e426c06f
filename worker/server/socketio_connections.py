"""Socket.IO connections of the server: dispatches events to sessions and sends their messages."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import socketio
import structlog
from engineio.packet import NOOP, Packet

from worker import metrics
from worker.realtime import messages
from worker.realtime.session_recording import Entry
from worker.server import protocol
from worker.server.auth import HANDSHAKE, AcceptedKeys, Handshake, token_of
from worker.server.fault_injection import REFUSALS, FaultEffect, FaultySession
from worker.server.fault_options import FaultKind, FaultSchedule
from worker.server.recognition_engine import EngineLoader, RecognitionEngine
from worker.server.replay_session import ReplaySession
from worker.server.session import Emit, ServerSession
from worker.server.session_limits import GOING_AWAY, NORMAL, TRY_LATER, SessionEnding, SessionLimits
from worker.server.socketio_server import MAX_UNREAD
from worker.server.tcp_connection_limits import TcpConnections
from worker.settings import Settings

AnySession = ServerSession | ReplaySession

_log = structlog.get_logger("worker.server")
UPGRADE_TIMEOUT_S = 10.0
"""Maximum seconds from the start of a websocket upgrade to the end of its probe."""
JOIN_TIMEOUT_S = 15.0
"""Maximum seconds from the handshake to the packet that joins the namespace."""
# `close` waits this long twice: for the sessions to end, then for their last messages.
_FLUSH_TIMEOUT_S = 0.5
_FLUSH_POLL_S = 0.01


@dataclass(slots=True)
class _ClientState:
    session: AnySession | None = None
    faulty: FaultySession | None = None
    task: asyncio.Task[None] | None = None
    ended_by_server: bool = False
    """Whether the server ended the last session of the connection. Chunks and stops that arrive after that are ignored,
    not refused: the client may have sent them before it learned of the end."""


class SocketIoConnections:
    """All connections of one server. The event handlers of a connection run in its read loop, one after the other, in
    the order in which the client sent the events."""

    def __init__(
        self,
        sio: Any,
        settings: Settings,
        loader: EngineLoader,
        faults: FaultSchedule,
        accepted: AcceptedKeys,
        tcp_connections: TcpConnections,
        recordings: Sequence[Sequence[Entry]] = (),
    ) -> None:
        """`recordings`: recorded sessions to play back, one for each session. If there are none, audio is
        recognized."""
        self._sio = sio
        self._limits = SessionLimits(backlog_s=settings.server_max_backlog_s, idle_s=settings.server_idle_timeout_s)
        self._max_sessions = settings.server_max_sessions
        self._connections: dict[str, _ClientState] = {}
        self._upgrades: dict[str, Any] = {}
        self._closing = False
        self._received_s = 0.0
        self._loader = loader
        self._faults = faults
        self._accepted = accepted
        self._tcp_connections = tcp_connections
        self._recordings = recordings
        self._replayed = 0
        sio.on_refused = self._refuse_packet
        sio.on("connect", self._connect)
        sio.on("disconnect", self._disconnect)
        sio.on(messages.START, self._start)
        sio.on(messages.CHUNK, self._chunk)
        sio.on(messages.STOP, self._stop)

    @property
    def sessions(self) -> list[AnySession]:
        """The running sessions."""
        return [c.session for c in self._connections.values() if c.session is not None]

    @property
    def received_s(self) -> float:
        """Seconds of audio received in all sessions so far."""
        return self._received_s + sum(session.received_s for session in self.sessions)

    @property
    def connections(self) -> int:
        """Number of connections that have joined the namespace."""
        return len(self._connections)

    @property
    def sockets(self) -> int:
        """Number of Engine.IO connections, including those that have not joined the namespace yet."""
        return sum(not socket.closed for socket in self._sio.eio.sockets.values())

    def authenticate(self, request: Any, *, verified: bool) -> None:
        """Mark `request` as a handshake with an accepted key. Later requests with the id of its session need no key.

        `verified`: False if the client must still send its key when it joins the namespace."""
        request[HANDSHAKE] = Handshake(time.monotonic(), verified)

    @property
    def unverified(self) -> int:
        """Number of open connections whose client has not sent its key yet."""
        open_sids = [sid for sid, socket in self._sio.eio.sockets.items() if not socket.closed]
        return sum(not self.verified(eio_sid) for eio_sid in open_sids)

    def verified(self, eio_sid: str) -> bool:
        """Whether the client of a connection has sent an accepted key."""
        request = self._request(eio_sid)
        handshake = request.get(HANDSHAKE) if request is not None else None
        return handshake is not None and handshake.verified

    def uses_websocket(self, eio_sid: str) -> bool:
        """Whether a polling client has upgraded to a websocket."""
        return bool(self._sio.eio.sockets[eio_sid].upgraded)

    async def is_alive(self, eio_sid: str) -> bool:
        """Whether the client of a connection has answered the last ping in time. If it has not, its session is
        closed."""
        return bool(await self._sio.eio.sockets[eio_sid].check_ping_timeout())

    async def close_session(self, eio_sid: str) -> None:
        """Close a connection. A waiting poll gets the packet CLOSE."""
        await self._sio.eio.disconnect(eio_sid)

    def serves(self, eio_sid: str) -> bool:
        """Whether `eio_sid` is the id of an open connection with an accepted key."""
        socket, request = self._sio.eio.sockets.get(eio_sid), self._request(eio_sid)
        return bool(socket is not None and not socket.closed and request is not None and HANDSHAKE in request)

    @contextmanager
    def upgrading(self, eio_sid: str, request: Any) -> Iterator[bool]:
        """Context manager for `request`, which upgrades a polling client to a websocket. Yields True if the upgrade may
        continue. Yields False if the client already has a websocket or is already upgrading; the caller must then
        refuse the request.

        An upgrade that is not complete after `UPGRADE_TIMEOUT_S` is aborted.
        """
        socket = self._sio.eio.sockets[eio_sid]
        if socket.upgraded or socket.upgrading or eio_sid in self._upgrades:
            yield False
            return
        # The TCP connection of a websocket is that of the upgrade request, not that of the handshake; see `_transport`.
        self._upgrades[eio_sid] = request
        loop = asyncio.get_running_loop()
        timer = loop.call_later(UPGRADE_TIMEOUT_S, self._end_stalled_upgrade, socket, request)
        try:
            yield True
        finally:
            timer.cancel()
            del self._upgrades[eio_sid]
            if not socket.upgraded:
                # If the client's probe packet never arrives, python-engineio does not reset `upgrading`, and would
                # answer no further polls of the client.
                socket.upgrading = False

    @staticmethod
    def _end_stalled_upgrade(socket: Any, request: Any) -> None:
        if not socket.upgraded and request.transport is not None:
            request.transport.abort()

    async def watch(self) -> None:
        """Close connections that do not join the namespace in time. Runs until cancelled."""
        while True:
            await asyncio.sleep(JOIN_TIMEOUT_S / 5)
            limit = time.monotonic() - JOIN_TIMEOUT_S
            for eio_sid, socket in list(self._sio.eio.sockets.items()):
                request = self._request(eio_sid)
                handshake = request.get(HANDSHAKE) if request is not None else None
                if handshake is None or handshake.joined or handshake.began_at > limit or socket.closed:
                    continue
                transport = self._transport(eio_sid)
                await socket.close(wait=False, abort=True)
                socket.queue.put_nowait(Packet(NOOP))  # ends a waiting poll
                if transport is not None:
                    transport.abort()

    def _request(self, eio_sid: str) -> Any:
        """Return the handshake request of the connection with this Engine.IO id, or None if there is none."""
        environ = self._sio.environ.get(eio_sid)
        return environ["aiohttp.request"] if environ is not None else None

    async def close(self) -> None:
        """End every session with GOING_AWAY, then close the connections. Takes at most 1 s."""
        self._closing = True
        tasks = []
        for connection in self._connections.values():
            if connection.session is not None and connection.task is not None:
                connection.session.end(SessionEnding(GOING_AWAY, "the server is shutting down"))
                tasks.append(connection.task)
        if tasks:
            await asyncio.wait(tasks, timeout=_FLUSH_TIMEOUT_S)
        await self._close_sockets()

    async def _close_sockets(self) -> None:
        """Close all connections, and wait until their last messages are sent, at most `_FLUSH_TIMEOUT_S` seconds."""
        open_sockets = [(socket, self._transport(eio_sid)) for eio_sid, socket in self._sio.eio.sockets.items()]
        for socket, _ in open_sockets:
            await socket.close(wait=False)
        # Poll the queues: queue.join() would wait forever for a client that disconnects at this moment.
        for _ in range(round(_FLUSH_TIMEOUT_S / _FLUSH_POLL_S)):
            open_sockets = [
                (s, t) for s, t in open_sockets if not s.queue.empty() and not (t is not None and t.is_closing())
            ]
            if not open_sockets:
                return
            await asyncio.sleep(_FLUSH_POLL_S)

    async def _connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        request = environ["aiohttp.request"]
        if not request[HANDSHAKE].verified:
            if token_of(auth) not in self._accepted:
                raise socketio.exceptions.ConnectionRefusedError("auth_error: the key in auth.token is not accepted")
            request[HANDSHAKE].verified = True
            transport = self._transport(self._sio.manager.eio_sid_from_sid(sid, "/"))
            self._tcp_connections.mark_authenticated(transport)
        request[HANDSHAKE].joined = True
        # This refuses the client in-band, after a handshake with HTTP 200, as some services refuse a key.
        reason = REFUSALS.pop(id(request), None)
        if reason is not None:
            raise socketio.exceptions.ConnectionRefusedError(reason)
        self._connections[sid] = _ClientState()

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        socket = self._socket(sid)
        if socket is not None and not socket.upgraded:
            # python-engineio does not answer the waiting poll of a polling client that disconnects. Any packet does.
            socket.queue.put_nowait(Packet(NOOP))
        connection = self._connections.pop(sid, None)
        if connection is not None and connection.session is not None:
            connection.session.end(SessionEnding(GOING_AWAY, f"the client disconnected: {reason}"))

    async def _start(self, sid: str, *args: Any) -> None:
        connection = self._active_client(sid)
        if connection is None:
            return
        if connection.session is not None:
            await self._refuse(
                sid, connection, "invalid_request: a session is running on this connection; stop it first"
            )
            return
        try:
            rate = protocol.start_rate(args)
        except protocol.ClientMessageRefused as exc:
            await self._refuse(sid, connection, str(exc))
            return
        engine = self._loader.engine
        if engine is None or self._closing:
            await self._reject_session(sid, "resource_exhausted: the server accepts no sessions now")
        elif len(self.sessions) >= self._max_sessions:
            await self._reject_session(
                sid, f"resource_exhausted: all {self._max_sessions} sessions of the server are in use"
            )
        else:
            emit: Emit = partial(self._emit, sid)
            if faults := self._faults.next_session():
                connection.faulty = FaultySession(faults, emit, args[0])
                engine, emit = connection.faulty.engine(engine), connection.faulty.emit
            session = self._new_session(sid, rate, engine, emit)
            connection.session, connection.ended_by_server = session, False
            connection.task = asyncio.create_task(self._run(connection, session))

    def _new_session(self, sid: str, rate: int, engine: RecognitionEngine, emit: Emit) -> AnySession:
        if not self._recordings:
            return ServerSession(uuid.uuid4().hex, rate, engine, self._limits, emit)
        # One session for each recording, in order; the last one is repeated.
        recording = self._recordings[min(self._replayed, len(self._recordings) - 1)]
        self._replayed += 1
        return ReplaySession(uuid.uuid4().hex, rate, recording, self._limits, emit, lambda: self._abort(sid))

    async def _run(self, connection: _ClientState, session: AnySession) -> None:
        started = time.monotonic()
        try:
            ending = await session.run()
            metrics.SERVER_SESSIONS_ENDED.labels(str(ending.code)).inc()
            _log.info(
                "session ended",
                session=session.id, code=ending.code, reason=ending.reason, error=ending.error,
                rate=session.rate, audio_s=round(session.received_s, 2), elapsed_s=round(time.monotonic() - started, 2),
            )  # fmt: skip
        finally:
            self._received_s += session.received_s
            connection.session, connection.ended_by_server = None, not session.stopped_by_client
            connection.faulty = None

    async def _chunk(self, sid: str, *args: Any) -> None:
        connection = self._active_client(sid)
        if connection is None:
            return
        session = connection.session
        if session is None and connection.ended_by_server:
            return
        if session is None:
            await self._refuse(sid, connection, "invalid_request: audio-chunk before start-session")
            return
        try:
            audio_s = session.chunk(args)
        except protocol.ClientMessageRefused as exc:
            await self._refuse(sid, connection, str(exc))
            return
        if connection.faulty is not None:
            await self._apply_fault(sid, session, await connection.faulty.chunk(audio_s))
        # While this waits, no further message of the client is read (`async_handlers` is off).
        await session.throttle(audio_s)

    async def _apply_fault(self, sid: str, session: AnySession, effect: FaultEffect) -> None:
        """Apply the effect of a configured fault to the connection and its session."""
        if effect is FaultEffect.RESET:
            self._abort(sid)
        elif effect is FaultEffect.END:
            session.end(SessionEnding(NORMAL, "a configured fault"))
        elif effect is FaultEffect.STOP_READING:
            await session.over.wait()

    async def _stop(self, sid: str, *_args: Any) -> None:
        connection = self._active_client(sid)
        if connection is None:
            return
        if connection.session is None and connection.ended_by_server:
            return
        if connection.session is None:
            await self._refuse(sid, connection, "invalid_request: there is no session to stop")
            return
        # A real service discards at the stop what it has not committed; this server normally commits it.
        if connection.faulty is not None and connection.faulty.has(FaultKind.FORGET_TAIL):
            connection.session.end(SessionEnding(NORMAL, messages.REASON_STOPPED))
            return
        try:
            connection.session.stop()
        except protocol.ClientMessageRefused as exc:
            await self._refuse(sid, connection, str(exc))

    async def _refuse_packet(self, sid: str, problem: str) -> None:
        connection = self._active_client(sid)
        if connection is not None:
            await self._refuse(sid, connection, problem)

    async def _refuse(self, sid: str, connection: _ClientState, problem: str) -> None:
        await self._emit(sid, messages.ERROR, {"error": problem})
        if connection.session is not None:
            connection.session.refuse()

    async def _reject_session(self, sid: str, error: str) -> None:
        await self._emit(sid, messages.ERROR, {"error": error})
        await self._emit(sid, messages.CLOSED, {"code": TRY_LATER, "reason": error})

    async def _emit(self, sid: str, event: str, payload: dict[str, Any] | None) -> None:
        if sid not in self._connections:
            return
        socket = self._socket(sid)
        if socket is not None and socket.queue.qsize() > MAX_UNREAD:
            _log.warning("connection closed: the client does not read its messages", unread=socket.queue.qsize())
            self._abort(sid)
            await socket.close(wait=False, abort=True)
            return
        await self._sio.emit(event, payload, to=sid)

    def _abort(self, sid: str) -> None:
        transport = self._transport(self._sio.manager.eio_sid_from_sid(sid, "/"))
        if transport is not None:
            transport.abort()

    def _transport(self, eio_sid: str) -> Any:
        """Return the TCP transport of a client's websocket, or None for a polling client."""
        request = self._upgrades.get(eio_sid) or self._request(eio_sid)
        return request.transport if request is not None and request.query.get("transport") == "websocket" else None

    def _active_client(self, sid: str) -> _ClientState | None:
        """Return the state of the client that sent an event, or None if it has disconnected.

        Also resets python-engineio's ping timeout: every event is treated as a pong, because the real pong may wait
        behind audio that is not read yet.
        """
        socket = self._socket(sid)
        if socket is not None and socket.last_ping:
            socket.last_ping = time.time()
        return self._connections.get(sid)

    def _socket(self, sid: str) -> Any:
        return self._sio.eio.sockets.get(self._sio.manager.eio_sid_from_sid(sid, "/"))
