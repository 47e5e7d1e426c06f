"""An SMTP server that stores the messages that it gets. It offers no encryption."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class _Handler(socketserver.StreamRequestHandler):
    server: MailServer
    timeout: ClassVar[float] = 30.0

    def _answer(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self._answer("220 mail.example ready")
        while line := self.rfile.readline(2000):
            word = line.decode("ascii", "replace").strip()
            self.server.commands.append(word)
            match word.upper().split(" ")[0]:
                case "EHLO":
                    self._answer("250-mail.example")
                    self._answer("250 AUTH PLAIN")
                case "AUTH":
                    self._answer("235 accepted")
                case "DATA":
                    self._answer("354 send the message")
                    lines = iter(self.rfile.readline, b".\r\n")
                    self.server.messages.append(b"".join(lines).decode())
                    self._answer("250 stored")
                case "QUIT":
                    self._answer("221 bye")
                    return
                case _:
                    self._answer("250 ok")


class MailServer(socketserver.ThreadingTCPServer):
    """`messages`: the received messages with their headers. `commands`: all received commands."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[str] = []
        self.commands: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
