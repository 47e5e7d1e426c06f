"""A receiver of webhooks in its own process. The first part of a request's path determines how it answers.

python -m tests.support.receiver PORT LOG [CERTIFICATE]

| path          | does                                                        |
|---------------|-------------------------------------------------------------|
| `/ok`         | answers 204                                                 |
| `/fail/N/x`   | answers 500 N times, then 204 (counted for each path)       |
| `/hang/N/x`   | does not answer the first N requests, then answers 204      |
| `/later/x`    | answers 429 with `Retry-After: 1` once, then 204            |
| `/gone`       | answers 410                                                 |
| `/login`      | answers 407                                                 |
| `/move`       | redirects to `/ok`                                          |
| `/flood`      | answers 200 and an endless body                             |
| `/cut/N/x`    | closes the connection without an answer N times, then 204   |

Each request is appended to the file LOG as one line of JSON with `at` (Unix time in seconds), `path`, `headers` and
`body`. CERTIFICATE is a PEM file with a certificate and its key; with it the receiver uses https.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tests.support.ports import free_port
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]


class _Handler(BaseHTTPRequestHandler):
    log: Path
    seen: ClassVar[Counter[str]] = Counter()

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        entry = {"at": time.time(), "path": self.path, "headers": headers, "body": body.decode()}
        with self.log.open("a") as log:
            log.write(json.dumps(entry) + "\n")
        self.seen[self.path] += 1
        what, *rest = self.path.partition("?")[0].strip("/").split("/")
        times = int(rest[0]) if rest and rest[0].isdigit() else 1
        failing = self.seen[self.path] <= times
        if what == "fail" and failing:
            self._answer(500)
        elif what == "later" and failing:
            self._answer(429, "Retry-After", "1")
        elif what == "hang" and failing:
            time.sleep(5)
        elif what == "cut" and failing:
            self.close_connection = True
        elif what == "gone":
            self._answer(410)
        elif what == "login":
            self._answer(407)
        elif what == "move":
            self._answer(302, "Location", "/ok")
        elif what == "flood":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b"x" * 65536)
        else:
            self._answer(204)

    def _answer(self, status: int, *header: str) -> None:
        self.send_response(status)
        if header:
            self.send_header(*header)
        self.end_headers()


class Receiver:
    """The address of a running receiver, and the requests that it received."""

    def __init__(self, scheme: str, port: int, log: Path) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}"
        self._log = log

    def requests(self, path: str | None = None) -> list[dict[str, Any]]:
        """Return the requests so far in order of their arrival: all, or only those with this path."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        found = [json.loads(line) for line in lines]
        return [one for one in found if path is None or one["path"] == path]


@contextmanager
def receiver(folder: Path, certificate: Path | None = None) -> Iterator[Receiver]:
    """Run a receiver with its log in `folder`. `certificate`: PEM file with certificate and key for https, or None."""
    port = free_port()
    log = folder / f"received-{port}.jsonl"
    command = [sys.executable, "-P", "-m", "tests.support.receiver", str(port), str(log)]
    process = subprocess.Popen(
        [*command, *([str(certificate)] if certificate else [])], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    try:
        wait_until(lambda: _listens(port), "the receiver listens", timeout_s=20)
        yield Receiver("https" if certificate else "http", port, log)
    finally:
        process.kill()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    _Handler.log = Path(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler)
    server.daemon_threads = True
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
