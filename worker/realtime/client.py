"""Socket.IO client of the real-time service. The only module that uses the client of python-socketio.

A `Client` is one connection and is used once. Automatic reconnection is switched off, because the service does not
continue a session on a new connection. This module adds three features to the library: a connect with a timeout and the
reason of a refusal, an emit that waits until the transport has accepted the message, and a close with a timeout even if
the peer reads nothing.

Observed with python-socketio 5.13-5.18 and python-engineio 4.11-4.15: `emit` only queues, `eio.queue.join()` waits for
the write loop; `disconnect` discards the queue and can hang. The exception of a refused handshake has the HTTP status
in its message (polling) or in `__cause__.__context__` (websocket). A message through the queue costs one or two task
switches and two packet objects, more than all other work for a frame of audio, so `emit` bypasses the queue if it can:
`eio.ws` is the aiohttp websocket (public, not documented). The websocket writes a whole frame before `send_frame` waits
for the transport, so frames of several tasks cannot mix.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import socketio
from pydantic import SecretStr

from worker.errors import EndpointError, EndpointMoved, EndpointUnavailable, SettingsError
from worker.network.failure_reasons import chain, is_refused_login, named_cause, proxy_refusal, unclear_login
from worker.network.http_session import needs_tunnel, session_options
from worker.network.proxy_choice import Route, choose_route
from worker.network.tls_context import client_context
from worker.realtime import json_codec, messages, old_protocol, refusals
from worker.realtime.client_packet import ClientPacket
from worker.realtime.early_close import EarlyClose, observed_websocket, until_closed
from worker.realtime.error_table import ErrorKind
from worker.realtime.library_errors import NO_HANDSHAKE, library_text, status_in
from worker.realtime.library_transport import abort, allow_idle_queue, free_websocket, over_websocket, written
from worker.realtime.old_protocol import OldProtocol
from worker.realtime.refused_response import RefusedResponse
from worker.realtime.request_observer import Redirected, RequestObserver
from worker.realtime.transport_memory import RETRY_WEBSOCKET_S, TransportMemory
from worker.secret_masking import masker_of, show_url
from worker.service_url import ServiceUrl, parse_service_url
from worker.settings import Settings

FINAL_STATUSES: Final = (401, 402, 407, 429, 503)
"""HTTP statuses of a websocket handshake after which polling would get the same answer. All others may come from a
proxy that does not let a websocket through."""
_ALSO_OF_PROXIES: Final = (ErrorKind.INTERMEDIARY, ErrorKind.SERVICE, ErrorKind.NOT_FOUND, ErrorKind.PERMISSION)
_TRANSPORTS: Final = TransportMemory()
_LOG: Final = logging.getLogger(__name__)
# If it gets no logger, python-socketio prints unformatted lines to standard error. They ("packet queue is empty,
# aborting") only repeat failures that `Client` reports with address and reason, so this logger discards them.
_LIBRARY_LOG: Final = logging.getLogger("worker.realtime.socketio")
_LIBRARY_LOG.setLevel(logging.CRITICAL + 1)
EVENT_PREFIX: Final = b"42"
"""Start of an Engine.IO message (4) with a Socket.IO event (2) in the main namespace; JSON follows."""


# The library parses an answer without checks. An answer that is not a handshake (an empty page, `0{}`, a JSON list,
# invalid JSON) can raise any of these errors.
_UNREADABLE: Final = (LookupError, TypeError, AttributeError, ArithmeticError, ValueError)


class _NoHandshake(Exception):
    """The answer to the handshake is not that of an Engine.IO server."""


class _RefusedInBand(Exception):
    """The service refused the connection after HTTP 200. `payload`: the payload of its packet CONNECT_ERROR."""

    def __init__(self, payload: object) -> None:
        super().__init__()
        self.payload = payload


async def check(url: str, api_key: SecretStr, settings: Settings) -> str:
    """Connect and close again, to test the address and the key before other work. Returns the transport that was used.
    Raises the same errors as `Client.open`."""
    client = Client(url, api_key, settings, lambda *_: None, lambda _: None)
    await client.open()
    await client.close()
    return client.transport


class Client:
    """One connection. `on_event(name, payload)` and `on_drop(lost)` are called on the event loop, in order; they must
    not block."""

    def __init__(
        self,
        url: str,
        api_key: SecretStr,
        settings: Settings,
        on_event: Callable[[str, object], None],
        on_drop: Callable[[messages.Lost], None],
    ) -> None:
        self._url = url
        self._headers = {messages.KEY_HEADER: api_key.get_secret_value()}
        self._settings = settings
        self._on_event = on_event
        self._on_drop = on_drop
        self._refusal: object = None
        self._requests = RequestObserver(self._end)
        self._route = Route()
        self._address = ServiceUrl("", "", "", "", 0, "")
        self._dropped = False
        self._closed: asyncio.Future[EarlyClose] | None = None  # the peer's close of the websocket
        self.transport = ""  # of the open connection: websocket or polling
        self._http: aiohttp.ClientSession | None = None
        self._sio: socketio.AsyncClient | None = None
        self._first = True  # whether the next message is the first one, which goes through the library's queue

    async def open(self) -> None:
        """Connect. If this fails, closes the connection and raises the EndpointError of the refusal (see `refusals`),
        EndpointMoved or EndpointUnavailable."""
        try:
            refused = await self._connect()
        except BaseException:
            await self.close()
            raise
        if refused is not None:
            await self.close()
            raise self._translated(refused) from refused

    async def _connect(self) -> Exception | None:
        """Try the transports that the settings allow, until one connects. Returns None if one connected, otherwise the
        error of the last transport."""
        try:
            self._address = at = parse_service_url(self._url, messages.PATH)
            self._route = choose_route(at.scheme, at.host, at.port, self._settings)
            client_context(self._settings, for_service=True)
        except (ValueError, SettingsError) as exc:
            return exc
        if self._settings.transport != "auto":
            return await self._try(self._settings.transport)
        endpoint, now = f"{at.origin} {self._route}", asyncio.get_running_loop().time()
        if _TRANSPORTS.needs_polling(endpoint, now):
            refused = await self._try("polling")
            if refused is not None:
                _TRANSPORTS.forget(endpoint)
            return refused
        refused = await self._try("websocket")
        if refused is None or not self._polling_may_work(refused):
            return refused
        # Polling works through proxies that block websocket, and its errors name the reason of a refusal.
        unpolled = await self._try("polling")
        if unpolled is None:
            _TRANSPORTS.remember_polling(endpoint, now)
            reason = self._translated(refused)
            _LOG.warning("polling is used for %g min, since the websocket failed: %s", RETRY_WEBSOCKET_S / 60, reason)
        return unpolled

    def _polling_may_work(self, exc: Exception) -> bool:
        """Whether to try polling after the websocket failed with `exc`."""
        if any(isinstance(e, _RefusedInBand | Redirected | OldProtocol) for e in chain(exc)):
            return False
        if isinstance(exc, EarlyClose):
            return refusals.of_early_close(exc.code, exc.reason).kind is ErrorKind.SERVICE
        if self._requests.connected:
            return status_in(exc) not in FINAL_STATUSES
        # Without TLS, a proxy may refuse the tunnel of the websocket and still forward the requests of polling.
        forwards = self._address.scheme in ("http", "ws") and self._route.proxy is not None
        return forwards and not is_refused_login(exc)

    async def emit(self, event: str, payload: dict[str, Any] | None = None) -> bool:
        """Send an event and wait until the transport accepts it. Returns False, and calls `on_drop`, if it is lost.
        Calls must follow one another: of two at a time, the second could overtake the first."""
        sio = self._sio
        if sio is None or self._dropped:
            return False
        try:
            websocket = None if self._first else free_websocket(sio)
            if websocket is None and not self._first and over_websocket(sio):
                # Only a pong is queued. The library's write loop would store a queued frame until the next pong: 22 KB
                # for each session of a busy process, traced with `tracemalloc`.
                if not await written(sio.eio):
                    return False
                websocket = free_websocket(sio)
            if websocket is None:
                await sio.emit(event, payload)
                self._first = False
                if not await written(sio.eio):
                    return False
            else:
                packet = EVENT_PREFIX + json_codec.encode([event] if payload is None else [event, payload])
                await websocket.send_frame(packet, aiohttp.WSMsgType.TEXT)
        except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError):
            return False
        return bool(sio.connected) and not self._dropped

    async def close(self) -> None:
        """Close the connection within `close_timeout_s`, even if the peer does not answer. When the call returns or is
        cancelled, all tasks of the library have ended."""
        sio, self._sio = self._sio, None
        http, self._http = self._http, None
        try:
            if sio is not None:
                await self._disconnect(sio)
        finally:
            if http is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.close_timeout_s):
                        await http.close()

    async def _disconnect(self, sio: socketio.AsyncClient) -> None:
        eio = sio.eio
        # If the peer reads nothing, the library closes neither its tasks nor the socket: see `finally` and `abort`.
        tasks = [t for t in (eio.write_loop_task, eio.read_loop_task) if t is not None]
        websocket = eio.ws
        try:
            async with asyncio.timeout(self._settings.close_timeout_s):
                await sio.disconnect()
        except (TimeoutError, aiohttp.ClientError, OSError):
            abort(websocket)
        except asyncio.CancelledError:
            abort(websocket)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(self, transport: str) -> Exception | None:
        """Connect over one transport. Returns the error, or None if connected."""
        await self.close()
        timeout_s = self._settings.connect_timeout_s
        at = self._address
        self._requests = requests = RequestObserver(self._end)
        encrypted = at.scheme in ("https", "wss")
        scheme = "https" if encrypted else "ws" if transport == "websocket" else "http"
        closed: asyncio.Future[EarlyClose] = asyncio.get_running_loop().create_future()
        self._closed = closed
        self._http = aiohttp.ClientSession(
            ws_response_class=observed_websocket(closed),
            **session_options(self._route, scheme, client_context(self._settings, for_service=True)),
            timeout=aiohttp.ClientTimeout(sock_connect=timeout_s),
            **requests.options(),
        )
        self._sio = sio = socketio.AsyncClient(
            reconnection=False,
            # The process has its own signal handlers.
            handle_sigint=False,
            json=json_codec,
            serializer=ClientPacket,
            http_session=self._http,
            request_timeout=timeout_s + 5,  # longer than the timeout below, which names the cause
            logger=_LIBRARY_LOG,
            engineio_logger=_LIBRARY_LOG,
        )
        self._listen(sio)
        self._first = True
        try:
            async with asyncio.timeout(timeout_s):
                connecting = sio.connect(
                    at.origin,
                    headers=self._headers | ({"Authorization": at.authorization} if at.authorization else {}),
                    transports=[transport],
                    socketio_path=at.path,
                    # The default of 1 s is too short for a service under load.
                    wait_timeout=timeout_s,
                )
                await until_closed(connecting, closed)
        except _UNREADABLE as exc:
            if closed.done():
                return closed.result()
            _LOG.debug("unreadable handshake", exc_info=exc)
            return _NoHandshake()
        except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError, TimeoutError) as exc:
            # If the service refuses over polling after HTTP 200, the library waits until the timeout: the refusal is
            # the cause, not the TimeoutError.
            if requests.redirect is not None:
                return requests.redirect
            if sio.failed_namespaces:
                return _RefusedInBand(self._refusal)
            return closed.result() if closed.done() else requests.failure or exc
        allow_idle_queue(sio)  # takes effect with the first message through the queue
        self.transport = transport
        return None

    def _end(self, reason: str) -> None:
        """Report a lost connection after a refused POST. Without this, the library would treat the message as sent."""
        sio = self._sio
        if not self._dropped and sio is not None and sio.connected:
            self._dropped = True
            self._on_drop(self._lost(reason))

    def _listen(self, sio: socketio.AsyncClient) -> None:
        # Plain functions, not coroutines: the library runs each coroutine as a task, and tasks that wait can change the
        # order of messages.
        def any_event(event: str, *args: object) -> None:
            self._on_event(event, args[0] if args else None)

        # If a service refuses with a JSON list, the library passes its items as arguments.
        def refused(*items: object) -> None:
            self._refusal = items[0] if len(items) == 1 else list(items)

        def dropped(reason: object = None) -> None:
            if not self._dropped:
                self._dropped = True
                self._on_drop(self._lost(str(reason or "transport closed")))

        sio.on("*", any_event)
        sio.on("connect_error", refused)
        sio.on("disconnect", dropped)

    def _lost(self, reason: str) -> messages.Lost:
        """Return why the connection was lost: the reason of a redirect, a close or a refusal if there was one, else
        `reason`."""
        if self._requests.redirect is not None:
            return messages.Lost(_redirect_text(self._requests.redirect))
        if self._closed is not None and self._closed.done():
            close = self._closed.result()
            return messages.Lost(str(close), close.code or None, close.reason)  # aiohttp: 0 for a close without a code
        refused = self._requests.failure
        detail = f": {self._read(refused).detail}" if isinstance(refused, RefusedResponse) else ""
        return messages.Lost(f"{reason}{detail}")

    def _read(self, refused: RefusedResponse) -> refusals.Refusal:
        body = masker_of(self._settings).text(refused.body)
        return refusals.of_response(refused.status, refused.headers, body)

    def _translated(self, exc: Exception) -> EndpointError:
        """Convert a refusal to an EndpointError. Secrets that the service or a library echoes are masked."""
        shown, cause = show_url(self._url), self._named_cause(exc)
        error = EndpointUnavailable(f"{shown}: {cause}") if cause is not None else self._error_of(exc, shown)
        return error.with_text(masker_of(self._settings).text(str(error)))

    def _named_cause(self, exc: Exception) -> str | None:
        """Return the cause if it is known: a proxy, a certificate or the like, or a server with an old protocol."""
        if isinstance(exc, SettingsError | OldProtocol):
            return str(exc)
        if isinstance(exc, _RefusedInBand) and exc.payload == old_protocol.REFUSAL:
            return old_protocol.OLD_PROTOCOL
        status = status_in(exc)
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return proxy_refusal(status, "", self._route, self._address.host)
        if status == HTTPStatus.UNAUTHORIZED and self._may_be_of_the_proxy(exc):
            return unclear_login(self._route)
        return named_cause(exc, self._route, self._address.host)

    def _may_be_of_the_proxy(self, exc: Exception) -> bool:
        """Whether the proxy may have sent a refusal: it can answer requests of the transport polling without TLS."""
        proxy = self._route.proxy
        refused = next((e for e in chain(exc) if isinstance(e, RefusedResponse)), None)
        if proxy is None or proxy.is_socks or self._address.scheme in ("https", "wss") or refused is None:
            return False
        asks = {name.lower(): value.lower() for name, value in refused.headers.items()}.get("www-authenticate", "")
        return asks.startswith("basic") and not self._address.authorization

    def _error_of(self, exc: Exception, shown: str) -> EndpointError:
        if isinstance(exc, Redirected):
            kind = EndpointMoved if exc.permanent else EndpointUnavailable
            return kind(f"{shown}: {_redirect_text(exc)}; set STT_URL to the address of the service itself")
        if isinstance(exc, _RefusedInBand):
            # A refusal in-band has no status, so only its text can distinguish a full service from a wrong key.
            return refusals.of_packet(exc.payload, masker_of(self._settings).text).error(shown)
        if isinstance(exc, EarlyClose):
            return refusals.of_early_close(exc.code, masker_of(self._settings).text(exc.reason)).error(shown)
        if (refused := next((e for e in chain(exc) if isinstance(e, RefusedResponse)), None)) is not None:
            return self._with_proxy(self._read(refused), shown)
        status = status_in(exc)
        if status is not None:
            return refusals.of_response(status, {}, "").error(shown)
        # A connection without TLS over polling is one to the proxy only.
        plain = self._address.scheme in ("http", "ws")
        by = f" {self._route}" if self._route.proxy is not None and (plain or not self._requests.connected) else ""
        if isinstance(exc, _NoHandshake):
            reason = NO_HANDSHAKE
        elif isinstance(exc, TimeoutError):
            reason = f"no connection{by} within {self._settings.connect_timeout_s:g} s"
        else:
            reason = f"{library_text(exc, encrypted=not plain)}{by}"
        return EndpointUnavailable(f"{shown}: {reason}; check STT_URL, the network, and that the service runs")

    def _with_proxy(self, refusal: refusals.Refusal, shown: str) -> EndpointError:
        """Return the error of a refused response. If a proxy of the settings may have sent it, the error names it."""
        error = refusal.error(shown)
        forwarded = self._route.proxy is not None and not needs_tunnel(self._route, self._address.scheme)
        if forwarded and self._address.scheme != "https" and refusal.kind in _ALSO_OF_PROXIES:
            return error.with_text(f"{error}; the request went {self._route}")
        return error


def _redirect_text(redirect: Redirected) -> str:
    return f"answers with a redirect to {redirect}, which is not followed: the key is sent to STT_URL only"
