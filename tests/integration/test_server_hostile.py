"""Connections that never finish: the service serves a client with a key, answers /healthz, and does not grow.

`-m chaos` runs the full form: 2,000 connections for 60 s.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import aiohttp
import psutil
import pytest

from tests.support.fleet import listening_process, tone_server
from tests.support.service import KEY, caller, tones
from tests.support.wait import allowed_s, async_wait_until

MAX_GROWTH_BYTES = 50_000_000
MAX_HEALTH_S = 0.2
MAX_STALL_S = 1.0
"""Above the limit for the few requests that had to wait for a core: attackers, service and test share the machine."""
# Connections, seconds, and the factor of both limits: in the gate other tests run beside this one.
SMALL = (300, 4.0, 5)
FULL = pytest.param((2000, 60.0, 1), marks=[pytest.mark.chaos, pytest.mark.timeout(300)])


class Served:
    def __init__(self, url: str, process: psutil.Process) -> None:
        self.url = url
        self.process = process

    @property
    def resident_bytes(self) -> int:
        return int(self.process.memory_info().rss)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with tone_server(tmp_path, STT_SERVER_API_KEYS=KEY) as url:
        yield Served(url, listening_process(url))


async def honest(served: Served, until: float) -> int:
    """Run complete sessions one after the other. Returns their number."""
    words, pcm = tones(4)
    served_sessions = 0
    while time.monotonic() < until:
        transport = ("websocket", "polling")[served_sessions % 2]
        async with caller(served, transport) as one:
            await one.start()
            await one.say(pcm)
            assert (await one.finish(10))["code"] == 1000
            assert one.text.split() == [word.text for word in words]
        served_sessions += 1
    return served_sessions


async def watched(served: Served, until: float) -> tuple[list[float], int]:
    """Return the seconds that each GET /healthz takes on a new connection, and the peak memory of the server."""
    took_s, most = [], 0
    while time.monotonic() < until:
        began = time.monotonic()
        async with aiohttp.ClientSession() as session, session.get(f"{served.url}/healthz") as response:
            assert response.status == 200
            await response.read()
        took_s.append(time.monotonic() - began)
        most = max(most, served.resident_bytes)
        await asyncio.sleep(0.1)
    return took_s, most


@pytest.mark.parametrize("size", [SMALL, FULL], ids=["small", "full"])
async def test_unfinished_requests_do_not_lock_out_clients(served: Served, size: tuple[int, float, int]) -> None:
    count, seconds, slower = size
    host, port = served.url.removeprefix("http://").split(":")
    await honest(served, time.monotonic() + 1)  # what is loaded once is loaded
    before = served.resident_bytes
    attackers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.hostile", host, port, str(count), str(seconds), KEY),
        stdout=asyncio.subprocess.PIPE,
    )
    until = time.monotonic() + seconds
    try:
        sessions, (took_s, most) = await asyncio.gather(honest(served, until), watched(served, until))
        made = int((await asyncio.wait_for(attackers.communicate(), allowed_s(20)))[0])
    finally:
        if attackers.returncode is None:
            attackers.kill()
    slowest = ", ".join(f"{one * 1000:.0f}" for one in sorted(took_s)[-5:])
    sys.stderr.write(
        f"{made} connections; {sessions} sessions; {len(took_s)} x /healthz: median {median(took_s) * 1000:.0f} ms,"
        f" the slowest {slowest} ms; + {(most - before) / 1e6:.1f} MB\n"
    )
    assert made >= count
    assert sessions >= seconds / 4
    assert most - before < MAX_GROWTH_BYTES
    assert sorted(took_s)[int(len(took_s) * 0.95)] < MAX_HEALTH_S * slower
    assert max(took_s) < MAX_STALL_S * slower
    await async_wait_until(lambda: len(served.process.net_connections("tcp")) < 20, "their connections are gone", 30)
