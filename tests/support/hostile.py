"""Attacks a server with connections that never finish a request or that misuse the server in other ways.

python -m tests.support.hostile HOST PORT COUNT SECONDS [KEY]

Opens COUNT connections at once. They use the kinds of misuse in `STRANGERS` in rotation. Each stays open until the
server closes it, and is opened again 1 s later. With a KEY, every tenth connection opens a session and abandons it, in
one of the ways in `WITH_KEY`. Prints the number of connections made in SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import Awaitable, Callable

from worker.realtime.messages import KEY_HEADER, PATH

BODY_BYTES = 7_900_000
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
QUERY = "EIO=4&transport=polling"


class Line:
    """One TCP connection to the server, with methods to send parts of HTTP requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self.reader, self.writer, self.key = reader, writer, key

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text if isinstance(text, bytes) else text.encode())
        await self.writer.drain()

    async def request(self, method: str, target: str, headers: str = "", end: str = "\r\n") -> None:
        await self.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}{end}")

    async def until_closed(self) -> None:
        while await self.reader.read(65536):
            pass

    async def drip(self, text: bytes) -> None:
        """Send `text` once per second until the server closes the connection."""
        while not self.reader.at_eof():
            await self.send(text)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.reader.read(65536)

    async def session(self) -> str:
        """Open a session with the key. Returns its id (sid)."""
        await self.request("GET", f"{PATH}/?{QUERY}", f"{KEY_HEADER}: {self.key}\r\n")
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        body = await self.reader.readexactly(length)
        return str(json.loads(body[1:])["sid"])


async def silent(line: Line) -> None:
    await line.until_closed()


async def slow_headers(line: Line) -> None:
    await line.request("GET", f"{PATH}/?{QUERY}", end="")
    await line.drip(b"X-More: 1\r\n")


async def half_closed(line: Line) -> None:
    await line.request("GET", "/healthz", end="")
    line.writer.write_eof()
    await line.until_closed()


async def slow_body(line: Line) -> None:
    await line.request("POST", f"{PATH}/?{QUERY}&sid=unknown", f"Content-Length: {BODY_BYTES}\r\n")
    await line.drip(b"x" * 1000)


async def big_post(line: Line) -> None:
    await line.request("POST", f"{PATH}/?{QUERY}&sid=unknown", f"Content-Length: {BODY_BYTES}\r\n")
    await line.send(b"x" * BODY_BYTES)
    await line.until_closed()


async def big_headers(line: Line) -> None:
    await line.request("GET", "/healthz", "".join(f"X-{n}: {'y' * 4000}\r\n" for n in range(50)), end="")
    await line.until_closed()


async def idle_after_a_response(line: Line) -> None:
    await line.request("GET", "/healthz")
    await line.until_closed()


async def many_requests_at_once(line: Line) -> None:
    await line.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
    await line.until_closed()


async def websocket_without_key(line: Line) -> None:
    await line.request("GET", f"{PATH}/?EIO=4&transport=websocket", UPGRADE)
    await line.until_closed()


async def blank_sid(line: Line) -> None:
    await line.request("GET", f"{PATH}/?{QUERY}&sid=")
    await line.until_closed()


async def session_without_polling(line: Line) -> None:
    await line.session()
    await line.until_closed()


async def upgrade_without_probe(line: Line) -> None:
    sid = await line.session()
    await line.request("GET", f"{PATH}/?EIO=4&transport=websocket&sid={sid}", UPGRADE)
    await line.until_closed()


async def slow_body_of_a_session(line: Line) -> None:
    sid = await line.session()
    await line.request("POST", f"{PATH}/?{QUERY}&sid={sid}", f"Content-Length: {BODY_BYTES}\r\n")
    await line.drip(b"x" * 1000)


Kind = Callable[[Line], Awaitable[None]]
STRANGERS: tuple[Kind, ...] = (
    *(silent, slow_headers, half_closed, slow_body, big_post, big_headers, idle_after_a_response),
    *(many_requests_at_once, websocket_without_key, blank_sid),
)
WITH_KEY: tuple[Kind, ...] = (session_without_polling, upgrade_without_probe, slow_body_of_a_session)


async def attack(host: str, port: int, count: int, seconds: float, key: str = "") -> int:
    """Attack the server for `seconds` with `count` connections at a time. Returns the number of connections made."""
    made = 0
    strangers, with_key = itertools.cycle(STRANGERS), itertools.cycle(WITH_KEY)

    async def one(kind: Kind) -> None:
        nonlocal made
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, port)
                made += 1
                try:
                    await kind(Line(reader, writer, key))
                finally:
                    writer.transport.abort()
            except (OSError, EOFError, ValueError, IndexError):
                pass  # refused or closed by the server, as expected
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(one(next(with_key if key and n % 10 == 9 else strangers))) for n in range(count)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=5)
    return made


if __name__ == "__main__":
    _, host_, port_, count_, seconds_, *key_ = sys.argv
    print(asyncio.run(attack(host_, int(port_), int(count_), float(seconds_), *key_)))  # noqa: T201
