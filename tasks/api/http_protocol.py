"""The HTTP protocol of the server: uvicorn's, with limits that uvicorn does not have.

Without them, any client could fill the memory or the table of open files without a key: with a header that does not
end, a request that never begins, thousands of pipelined requests, or a body that continues after its request was
refused.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tasks.api.problems import Problem, response_of

_log: Final = structlog.get_logger(__name__)
MAX_HEAD_BYTES: Final = 1 << 16
"""Maximum bytes of the request line with all headers, and of a body's parts that are not content, such as trailers."""
HEAD_S: Final = 30.0
"""Maximum seconds until the headers of a request are complete."""
MAX_PIPELINED: Final = 16
"""Maximum requests that wait for the response to an earlier request of the same connection."""
LINGER_S: Final = 30.0
"""Maximum seconds for which the rest of a body is discarded after the response. A client that sends its whole body
before it reads would not see the response if the connection were closed at once."""
STALL_S: Final = 300.0
"""Maximum seconds for which a client may read nothing of a response."""


_UPGRADE: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})


class _Refused(Exception):
    """Stops the parser. The connection gets the refusal as its response."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._in_body = False
        """Whether the headers of the current request are complete, but its body is not."""
        self._unparsed = 0
        """Bytes received since the last complete headers, part of a body, or end of a request."""
        self._upgrade = False
        """Whether the current request asks for another protocol."""
        self._refusal: Problem | None = None

    # -- the connection --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start("head", HEAD_S, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._timers):
            self._stop(name)
        super().connection_lost(exc)

    def data_received(self, data: bytes | memoryview) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._unparsed += len(data)
        self._parse(data)
        if self._unparsed > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        # The keep-alive timer ends with the first byte, which may be an empty line before a request.
        elif self._is_idle() and not self._in_body and self.timeout_keep_alive_task is None:
            self._start("head", HEAD_S, self._head_late)

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            problem = self._refusal or Problem(400, "the request is not valid HTTP/1.1")
            _log.debug("connection refused", status=problem.status)
            self._refuse(problem)
        except httptools.HttpParserUpgrade as exc:
            # The parser takes all that follows for another protocol. Clients such as Java's ask for HTTP/2 with each
            # request, so a new parser reads the same request as if it did not ask.
            self._upgrade = False
            self.parser = httptools.HttpRequestParser(self)
            self._parse(self._plain_head() + data[int(exc.args[0]) :])

    def _plain_head(self) -> bytes:
        kept = [name + b": " + value for name, value in self.headers if name not in _UPGRADE]
        return b"\r\n".join([self.scope["method"].encode() + b" " + self.url + b" HTTP/1.1", *kept]) + b"\r\n\r\n"

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("stall", STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("stall")

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits until the client has read the response.
        self._start("stall", STALL_S, self.transport.abort)

    # -- callbacks of the parser -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start("head", HEAD_S, self._head_late)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # trailers after a body are ignored: they must not change what was checked before
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop("head")
        self._refusal = self._head_problem()
        if self._refusal is not None:
            raise _Refused
        self._unparsed = 0
        if self.parser.should_upgrade():
            self._upgrade = True
            self.scope["method"] = self.parser.get_method().decode("ascii")
            return
        self._in_body = True
        super().on_headers_complete()

    def _head_problem(self) -> Problem | None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            return _too_large()
        if len(self.pipeline) >= MAX_PIPELINED:
            return Problem(429, f"more than {MAX_PIPELINED} requests wait for one response; read it first")
        if self.parser.get_method() == b"CONNECT":
            return Problem(405, "CONNECT is not supported: this server is not a proxy")
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            return Problem(400, f"the request has {hosts} Host headers; send exactly one")
        return None

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)
        # Stop reading after one chunk. uvicorn would buffer more, which adds up with a hundred uploads at once.
        if self.cycle.body and not self.cycle.response_complete:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._upgrade:
            return
        self._in_body, self._unparsed = False, 0
        self._stop("linger")
        super().on_message_complete()

    # -- responses -------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self._is_idle() and not self.transport.is_closing():
            self._start("linger", LINGER_S, self.transport.close)

    def _refuse(self, problem: Problem) -> None:
        """Refuse a request before the application sees it, and close the connection."""
        if self.transport.is_closing():
            return
        if self._is_idle():  # otherwise the refusal would be in the middle of another response
            response = response_of(problem)
            head = [STATUS_LINE[problem.status], b"connection: close\r\n"]
            head += [b"%s: %s\r\n" % header for header in response.raw_headers]
            self.transport.write(b"".join(head) + b"\r\n" + bytes(response.body))
        self.transport.close()

    def _is_idle(self) -> bool:
        """Whether no response is due."""
        return self.cycle is None or self.cycle.response_complete

    def _head_late(self) -> None:
        if not self._is_idle():  # the headers of the next request; the current response goes on
            self._start("head", HEAD_S, self._head_late)
        elif not self.transport.is_closing():
            self._refuse(Problem(408, f"the headers did not arrive within {HEAD_S:g} s; send the request again"))

    # -- timers ----------------------------------------------------------------------------------------------------

    def _start(self, name: str, delay_s: float, call: Any) -> None:
        """Call `call` after `delay_s` seconds, unless the timer of this name runs already."""
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(delay_s, self._due, name, call)

    def _due(self, name: str, call: Any) -> None:
        del self._timers[name]
        call()

    def _stop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _too_large() -> Problem:
    reason = f"the headers of the request have more than {MAX_HEAD_BYTES} bytes; send long values in the body"
    return Problem(431, reason, code="headers_too_large")


__all__ = ["LimitedHttpProtocol"]
