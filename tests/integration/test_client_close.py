"""If closing a connection is cancelled, nothing stays open. This happens when a worker stops a session that is
closing."""

from __future__ import annotations

import asyncio
import os

import psutil

from tests.support.service import KEY, service
from tests.support.wait import async_wait_until
from worker.realtime.client import Client
from worker.settings import load


def open_to(port: int) -> int:
    found = psutil.Process(os.getpid()).net_connections("tcp")
    return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED")


async def test_a_cancelled_close_leaves_no_connection() -> None:
    async with service() as server:
        port = int(server.url.rsplit(":", 1)[1])
        settings = load({"STT_API_KEY": KEY})
        interrupted = 0
        for steps in range(1, 25):  # at 0 it would not have begun
            client = Client(server.url, settings.api_key, settings, lambda *_: None, lambda _: None)
            await client.open()
            closing = asyncio.create_task(client.close())
            for _ in range(steps):
                await asyncio.sleep(0)
            interrupted += closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
        assert interrupted > 3
        await async_wait_until(lambda: open_to(port) == 0, "every connection is closed", timeout_s=5)
