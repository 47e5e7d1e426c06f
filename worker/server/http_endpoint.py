"""HTTP endpoint of the real-time API: parses and checks each request before python-engineio processes it."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from yarl import URL

from worker.server import auth
from worker.server.fault_injection import apply_handshake_faults
from worker.server.fault_options import FaultSchedule
from worker.server.recognition_engine import EngineLoader
from worker.server.request_bodies import MAX_BODY_BYTES, BodyReader, BodyRefused, problem_with_packets, with_body
from worker.server.request_query import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    SESSION_UNKNOWN,
    EngineIoQuery,
    QueryRefused,
    parse_query,
)
from worker.server.socketio_connections import SocketIoConnections
from worker.server.tcp_connection_limits import TcpConnections

METHODS: Final = ("GET", "POST", "OPTIONS")
MAX_UNVERIFIED: Final = 16
"""Maximum number of browser connections that have not sent their key yet."""
MAX_JOIN_BYTES: Final = 4096
"""Maximum size of the body with which such a connection joins the namespace."""


class _RequestRefused(Exception):
    """The request is refused. `status`: the HTTP status. `error`: the error name. `code`: the error number that
    Engine.IO's own server uses. The text of the exception is sent to the client."""

    def __init__(self, status: int, text: str, error: str = "invalid_request", *, code: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.error = error
        self.code = code


class HttpEndpoint:
    """Serves handshakes with an accepted key, and requests of sessions that are open. Refuses all others. Must be
    used on one event loop only."""

    def __init__(
        self,
        sio: Any,
        sockets: SocketIoConnections,
        loader: EngineLoader,
        accepted: auth.AcceptedKeys,
        faults: FaultSchedule,
        connections: TcpConnections,
        max_sockets: int,
    ) -> None:
        self._sio = sio
        self._sockets = sockets
        self._loader = loader
        self._accepted = accepted
        self._faults = faults
        self._connections = connections
        self._max_sockets = max_sockets
        self._bodies = BodyReader()
        self._posting: set[str] = set()
        self._polling: set[str] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one request to the endpoint's path, with any method."""
        try:
            return await self._handle(request)
        except _RequestRefused as exc:
            return auth.refusal(exc.status, exc.error, str(exc), exc.code)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method not in METHODS:
            text = f"the method must be one of {', '.join(METHODS)}"
            raise _RequestRefused(400, text, code=BAD_HANDSHAKE_METHOD)
        try:
            query = parse_query(request.rel_url.raw_query_string)
        except QueryRefused as exc:
            raise _RequestRefused(400, str(exc), code=exc.code) from None
        # Replace the query by its canonical form, so that all code after this reads it in the same way.
        request = request.clone(rel_url=URL.build(path=request.path, query_string=query.canonical, encoded=True))
        # The preflight request of a browser carries neither the key nor a session. python-engineio answers it with the
        # CORS headers only.
        if request.method == "OPTIONS":
            return await self._engine(request)
        if not _transport_fits(request, query):
            raise _RequestRefused(400, "the transport of the query and the header Upgrade differ")
        if query.websocket and self._faults.polling_only:
            raise _RequestRefused(400, "the websocket is refused by a configured fault", "error")
        if query.sid is None:
            return await self._handshake(request)
        return await self._serve(request, query.sid, websocket=query.websocket)

    async def _handshake(self, request: web.Request) -> web.StreamResponse:
        """Check a handshake and open a connection."""
        if request.method != "GET":
            text = "a request without a sid is a handshake, which must be a GET"
            raise _RequestRefused(400, text, code=BAD_HANDSHAKE_METHOD)
        verified = not auth.may_send_token(request)
        if verified:
            problem = auth.problem_with_key(request, self._accepted)
            if problem is not None:
                raise _RequestRefused(401, problem, "auth_error")
            self._connections.mark_authenticated(request.transport)
        elif self._sockets.unverified >= MAX_UNVERIFIED:
            raise _RequestRefused(429, "too many pages connect at the same time; try again later", "resource_exhausted")
        # The connection is marked first: otherwise it would be aborted after 10 s, while the handshake may wait 60 s
        # for the model.
        response = await apply_handshake_faults(request, self._faults)
        if response is not None:
            return response
        # A client without a key may not wait here: its connection would be aborted.
        problem = await self._loader.problem_when_loaded() if verified else self._loader.problem
        if problem is not None:
            raise _RequestRefused(500, problem, "transcriber_error")
        if self._sockets.sockets >= self._max_sockets:
            limit = self._max_sockets
            raise _RequestRefused(
                429, f"the server has {limit} connections open; try again later", "resource_exhausted"
            )
        # There must be no await between this check of the count and the creation of the socket in `_engine`: otherwise
        # a burst of handshakes could exceed the limit.
        self._sockets.authenticate(request, verified=verified)
        return await self._engine(request)

    async def _serve(self, request: web.Request, sid: str, *, websocket: bool) -> web.StreamResponse:
        """Serve a request to an open session."""
        if not self._sockets.serves(sid):
            text = "the session that sid names does not exist or has ended"
            raise _RequestRefused(400, text, code=SESSION_UNKNOWN)
        if self._sockets.verified(sid):
            self._connections.mark_authenticated(request.transport)
        if request.method == "POST":
            return await self._post(request, sid)
        if not websocket:
            return await self._poll(request, sid)
        # This request lasts as long as the websocket does.
        with self._sockets.upgrading(sid, request) as free:
            if not free:
                raise _RequestRefused(400, "the session has a websocket already")
            return await self._engine(request)

    async def _poll(self, request: web.Request, sid: str) -> web.StreamResponse:
        """Serve a polling request that waits for messages. A second such request at the same time closes the session,
        as in Engine.IO's own server, because the client could receive the messages of the two requests in the wrong
        order."""
        if self._sockets.uses_websocket(sid):
            raise _RequestRefused(400, "the session uses a websocket", code=BAD_REQUEST)
        if sid in self._polling:
            await self._sockets.close_session(sid)
            text = "the session was polling already; it is closed"
            raise _RequestRefused(400, text, code=BAD_REQUEST)
        if not await self._sockets.is_alive(sid):
            text = "the session has ended: the client did not answer a ping in time"
            raise _RequestRefused(400, text, code=SESSION_UNKNOWN)
        self._polling.add(sid)
        try:
            return await self._engine(request)
        finally:
            self._polling.discard(sid)

    async def _post(self, request: web.Request, sid: str) -> web.StreamResponse:
        """Serve a polling request that sends messages. A session may have only one request of this kind at a time."""
        if sid in self._posting:
            raise _RequestRefused(400, "the session is sending another request already")
        # The messages of two requests at a time could be processed in the wrong order.
        self._posting.add(sid)
        try:
            body = await self._bodies.read(request, MAX_BODY_BYTES if self._sockets.verified(sid) else MAX_JOIN_BYTES)
            if not self._sockets.serves(sid):
                text = "the session that sid names has ended while its body arrived"
                raise _RequestRefused(400, text, code=SESSION_UNKNOWN)
            if (problem := problem_with_packets(body)) is not None:
                # python-engineio would answer with 200 and discard the packets, some of which may contain audio.
                await self._sockets.close_session(sid)
                text = f"the body has an invalid packet: {problem}; the session is closed"
                raise _RequestRefused(400, text, code=BAD_REQUEST)
            return await self._engine(with_body(request, body))
        except BodyRefused as exc:
            raise _RequestRefused(exc.status, str(exc)) from None
        finally:
            self._posting.discard(sid)

    async def _engine(self, request: Any) -> web.StreamResponse:
        response: web.StreamResponse = await self._sio.handle_request(request)
        return response


def _transport_fits(request: web.Request, query: EngineIoQuery) -> bool:
    """Whether the query and the headers request the same transport. They must agree, because python-engineio reads the
    query in some places and the headers in others."""
    if query.websocket:
        return request.method == "GET" and web.WebSocketResponse().can_prepare(request).ok
    return "websocket" not in ",".join(request.headers.getall("Upgrade", [])).lower()


def close_unauthenticated(connections: TcpConnections) -> Any:
    """Return a handler for `on_response_prepare`. The handler makes a connection close after the response, unless one
    of the connection's requests was accepted."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        # The websocket of a page that has not sent its key yet stays open; it is aborted if the key does not follow.
        if not connections.is_authenticated(request.transport) and not isinstance(response, web.WebSocketResponse):
            response.headers["Connection"] = "close"
            response.force_close()

    return prepare
