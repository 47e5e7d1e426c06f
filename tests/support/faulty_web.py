"""A web server that serves the same content at every path, with a fault: the one that the first part of the path names.

For example, a request for /drop/call.wav gets the fault `drop`. A fault that is a number, such as 404, is an HTTP
status. `2-times-503` answers the first two requests with status 503. The other faults are methods of `_Handler`.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.ports import free_port

MODIFIED = "Mon, 23 Nov 2026 03:02:00 GMT"


class FaultyWeb:
    """The running server. `requests`: path and Range header of each request so far. `release`: set this event to end
    the responses of the fault `stuck`."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.requests: list[tuple[str, str]] = []
        self.etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), _Handler)
        self._server.daemon_threads = True
        self._server.web = self  # type: ignore[attr-defined]
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def url(self, fault: str, name: str = "call.wav") -> str:
        """Return a URL whose requests get `fault`."""
        return f"http://{self.host}/{fault}/{name}"

    def count(self, fault: str) -> int:
        """Return the number of requests so far that got `fault`."""
        return sum(path.startswith(f"/{fault}/") for path, _ in self.requests)

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextmanager
def faulty_web(content: bytes) -> Iterator[FaultyWeb]:
    server = FaultyWeb(content)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        web: FaultyWeb = self.server.web  # type: ignore[attr-defined]
        fault = self.path.split("/")[1]
        web.requests.append((self.path, self.headers.get("Range", "")))
        nth = web.count(fault)
        with suppress(OSError):
            if fault.isdigit():  # an HTTP status
                self._empty(int(fault))
            elif match := re.fullmatch(r"(\d+)-times-(\d+)", fault):
                if nth <= int(match[1]):
                    self._empty(int(match[2]))
                else:
                    self._content(web.content)
            else:
                getattr(self, f"_{fault.replace('-', '_')}")(web, nth)

    def _empty(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _content(
        self,
        content: bytes,
        *,
        most: int | None = None,
        claim: int | None = None,
        ranges: bool = True,
        etag: str | None = "",
    ) -> None:
        """Send `content`, or the part that the Range header requests.

        `most`: number of bytes after which the connection is closed. `claim`: a wrong length of the whole content for
        the headers. `ranges`: whether Range headers are obeyed. `etag`: the value to send, or "" for the right
        one; with None, the header is omitted.
        """
        web: FaultyWeb = self.server.web  # type: ignore[attr-defined]
        etag = web.etag if etag == "" else etag
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if ranges else None
        whole, start = claim or len(content), 0
        if match and self.headers.get("If-Range") in (etag, MODIFIED):
            start = int(match[1])
            if start >= len(content):
                self._empty(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(whole - start))
        self.send_header("Last-Modified", MODIFIED)
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        body = content[start:]
        self.wfile.write(body if most is None else body[:most])
        if most is not None and most < len(body):
            self._break()
        elif claim is not None:
            self.close_connection = True

    def _break(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    # -- one method per fault: an address with `no-range` in its path calls _no_range ------------------------------
    def _ok(self, web: FaultyWeb, _nth: int) -> None:
        self._content(web.content)

    def _drop(self, web: FaultyWeb, _nth: int) -> None:
        """Close every connection after a third of the content."""
        self._content(web.content, most=len(web.content) // 3 + 1)

    def _drop_at_once(self, web: FaultyWeb, _nth: int) -> None:
        self._content(web.content, most=0)

    def _no_range(self, web: FaultyWeb, nth: int) -> None:
        """Close the first connection after half of the content, and ignore Range headers."""
        self._content(web.content, most=len(web.content) // 2 if nth == 1 else None, ranges=False)

    def _no_range_ever(self, web: FaultyWeb, _nth: int) -> None:
        self._content(web.content, most=len(web.content) // 2, ranges=False)

    def _no_etag(self, web: FaultyWeb, _nth: int) -> None:
        self._content(web.content, most=len(web.content) // 2 + 1, etag=None)

    def _changed(self, web: FaultyWeb, nth: int) -> None:
        """Close the first connection early, then serve different content with a different ETag."""
        if nth == 1:
            self._content(bytes(len(web.content)), most=len(web.content) // 2, etag='"before"')
        else:
            self._content(web.content)

    def _too_short(self, web: FaultyWeb, _nth: int) -> None:
        """Send a Content-Length that is too large."""
        self._content(web.content, claim=len(web.content) + 1000)

    def _chunked(self, web: FaultyWeb, _nth: int) -> None:
        """Send no Content-Length."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(web.content), 50_000):
            piece = web.content[at : at + 50_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _compressed(self, web: FaultyWeb, _nth: int) -> None:
        self._empty(200, **{"Content-Encoding": "gzip"})

    def _stuck(self, web: FaultyWeb, _nth: int) -> None:
        """Send half of the content, then nothing more until `FaultyWeb.release` is set."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(web.content)))
        self.end_headers()
        self.wfile.write(web.content[: len(web.content) // 2])
        self.wfile.flush()
        web.release.wait(60)

    def _moved(self, web: FaultyWeb, _nth: int) -> None:
        self._empty(302, Location="/ok/call.wav")

    def _loop(self, web: FaultyWeb, _nth: int) -> None:
        self._empty(302, Location=self.path)

    def _to_localhost(self, web: FaultyWeb, _nth: int) -> None:
        self._empty(302, Location=f"http://localhost:{web.host.rpartition(':')[2]}/ok/call.wav")

    def _to_file(self, web: FaultyWeb, _nth: int) -> None:
        self._empty(302, Location="file:///etc/passwd")
