"""A TCP proxy that can stop traffic and reset connections, which simulates network faults."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.ports import free_port


class Proxy:
    """Forwards TCP connections to `host:port`. `hold` stops all traffic without closing connections; with `up_only`, it
    stops only the traffic from clients. `release` lets the traffic continue. `reset` resets every connection."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self.release()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.carried = 0  # number of bytes from clients that were forwarded so far
        self.url = ""

    def hold(self, *, up_only: bool = False) -> None:
        self._up.clear()
        if not up_only:
            self._down.clear()

    def release(self) -> None:
        self._up.set()
        self._down.set()

    def reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def reset_some(self, rng: random.Random, count: int) -> None:
        """Reset up to `count` connections, chosen at random."""
        for writer in rng.sample(sorted(self._writers, key=id), k=min(count, len(self._writers))):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._up.wait()
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, self._up))
                group.create_task(self._pump(up_reader, writer, self._down))
        finally:
            self._writers -= {writer, up_writer}
            for end in (writer, up_writer):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await passing.wait()
                self.carried += len(data) if passing is self._up else 0
                writer.write(data)
                await writer.drain()
        writer.close()

    async def close(self) -> None:
        self.release()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the server at `url` (http://host:port). Clients connect to the `url` of the proxy."""
    host, _, port = url.removeprefix("http://").partition(":")
    line = Proxy(host, int(port))
    server = await asyncio.start_server(line._serve, "127.0.0.1", free_port())
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        await line.close()
