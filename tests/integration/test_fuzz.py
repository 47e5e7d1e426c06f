"""Many clients send invalid data to the server and the intake at the same time. No process ends, no memory grows, and
valid clients are served.

`-m chaos` runs more rounds. STT_FUZZ_ROUNDS sets their number; the default is 40 with `-m chaos`, otherwise 1.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import redis

from tasks.background.intake import Intake
from tasks.client.producer import Producer
from tests.support.fleet import listening_process, tone_server
from tests.support.service import HEADERS, KEY, caller, tones
from tests.support.wait import async_wait_until
from worker.ledger.connection import RedisConnection
from worker.realtime import messages
from worker.settings import Settings

ROUNDS = [
    1,
    pytest.param(int(os.environ.get("STT_FUZZ_ROUNDS", "40")), marks=[pytest.mark.chaos, pytest.mark.timeout(1800)]),
]
MAX_GROWTH_BYTES = 120_000_000
SOCKET = f"{messages.PATH}/?EIO=4&transport=websocket"
EVENTS = [messages.START, messages.CHUNK, messages.STOP, "disconnect", "no-such-event", "", "connect"]


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class Served:
    url: str
    process: psutil.Process

    def resident_bytes(self) -> int:
        return int(self.process.memory_info().rss)

    async def is_idle(self) -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as response:
            return bool((await response.json())["sessions"] == 0)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return a random JSON value, with a preference for values that are nearly valid."""
    makers: list[Callable[[], Any]] = [
        lambda: rng.choice([None, True, -1, 0, 16000, 2**63, 1e308, -0.0, "", "x" * 1000, "\x00", "電話", "NaN"]),
        lambda: {"sampleRate": rng.choice([16000, 0, -1, 1e9, "16000", None, [], 2**70])},
        lambda: {"audio_base_64": base64.b64encode(rng.randbytes(rng.randrange(5000))).decode(), "sample_rate": 16000},
        lambda: {"audio_base_64": rng.choice(["%%%", "A", "AAA", 5, None, [], "é" * 100]), "sample_rate": 16000},
        lambda: {"audio_base_64": "AAAA", "sample_rate": rng.choice([8000, 44100, "x", -5, 10**12, None])},
    ]
    if depth < 4:
        makers.append(lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))])
        makers.append(lambda: {str(rng.randrange(9)): value(rng, depth + 1) for _ in range(rng.randrange(4))})
    return rng.choice(makers)()


def frame(rng: random.Random) -> str | bytes:
    """Return a random websocket message: an event out of order, an invalid packet, or noise."""
    event = "42" + json.dumps([rng.choice(EVENTS), value(rng)])
    makers: list[Callable[[], str | bytes]] = [
        lambda: event,
        lambda: event,
        lambda: event[: rng.randrange(len(event) + 1)],
        lambda: "42" + json.dumps(value(rng)),
        lambda: f"42{rng.choice(['', '[', '{}', 'null', '[]', '[1]', '[[]]', '/other,[]', '99999999999999999999[]'])}",
        lambda: (
            f"45{rng.choice(['1', '9', '99999999'])}-{json.dumps([messages.CHUNK, {'_placeholder': True, 'num': 0}])}"
        ),
        lambda: rng.choice(
            ["", "0", "1", "2", "2probe", "3", "4", "40", "40{", "41", "43", "44", "46", "5", "6", "7", "b!!", "\ud7ff"]
        ),
        lambda: "4" * rng.randrange(1, 2000),
        lambda: "42" + "[" * rng.randrange(1, 20_000),
        lambda: rng.randbytes(rng.randrange(1, 4000)),
    ]
    return rng.choice(makers)()


async def attack(server: Served, seed: int, most: int = 60) -> None:
    """Run one client that has a valid key and sends random messages."""
    rng = random.Random(seed)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=aiohttp.ClientTimeout(total=20)) as session:
        try:
            async with session.ws_connect(f"{server.url}{SOCKET}", max_msg_size=0) as socket:
                if rng.random() < 0.8:
                    await socket.send_str("40")
                for _ in range(rng.randrange(most)):
                    one = frame(rng)
                    await (socket.send_str(one) if isinstance(one, str) else socket.send_bytes(one))
                if rng.random() < 0.3:
                    await socket.send_str("42" + json.dumps([messages.CHUNK, {"audio_base_64": "A" * 9_000_000}]))
                if rng.random() < 0.5 and (transport := socket.get_extra_info("socket")) is not None:
                    transport.shutdown(2)
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass  # it may be thrown out at any moment


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Run the server in a separate process."""
    with tone_server(tmp_path, STT_SERVER_API_KEYS=KEY) as url:
        yield Served(url, listening_process(url))


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_garbage_for_the_server(rounds: int, served: Served) -> None:
    words, pcm = tones(8)
    await asyncio.gather(*(attack(served, seed) for seed in range(40)))  # what is loaded once is loaded
    before = served.resident_bytes()
    for number in range(1, rounds + 1):
        async with caller(served) as honest:
            attacks = asyncio.gather(*(attack(served, 1000 * number + seed) for seed in range(40)))
            await honest.start()
            await honest.say(pcm)
            assert (await honest.finish(60))["code"] == 1000
            assert honest.text.split() == [word.text for word in words]
            await attacks
    # Well below the ping timeout of 45 s: the end of a websocket must end its session at once.
    await async_wait_until(served.is_idle, "no session of theirs is left", timeout_s=30)
    assert served.resident_bytes() - before < MAX_GROWTH_BYTES
    async with caller(served) as next_one:
        await next_one.start()


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_thousand_connections_without_a_key(rounds: int, served: Served) -> None:
    words, pcm = tones(8)
    async with caller(served) as honest:
        await honest.start()
        before = served.resident_bytes()
        # A part in each round, because the server ends a session whose client is silent for a minute.
        part = len(pcm) // 2 // rounds * 2
        for number in range(rounds):
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=200), timeout=aiohttp.ClientTimeout(total=60)
            ) as session:
                statuses = await asyncio.gather(*(_handshake(session, served, one) for one in range(1000)))
            assert set(statuses) == {401}
            await honest.say(pcm[number * part : (number + 1) * part if number < rounds - 1 else None])
        assert (await honest.finish())["code"] == 1000
        assert honest.text.split() == [word.text for word in words]
        assert served.resident_bytes() - before < MAX_GROWTH_BYTES


async def _handshake(session: aiohttp.ClientSession, server: Served, number: int) -> int:
    """Assert the HTTP statuses of refused handshakes over both transports, without a key and with wrong keys."""
    headers = [{}, {"x-api-key": "wrong"}, {"x-api-key": "x" * 4000}][number % 3]
    if number % 2:
        address = f"{server.url}{messages.PATH}/?EIO=4&transport=polling"
        async with session.get(address, headers=headers) as response:
            return response.status
    try:
        async with session.ws_connect(f"{server.url}{SOCKET}", headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as exc:
        return exc.status


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_garbage_for_the_intake(
    rounds: int, settings: Settings, producer: Producer, redis_url: str, tmp_path: Path
) -> None:
    rng = random.Random(7)
    connection = RedisConnection(settings.redis_url)
    intake = Intake(settings, producer, connection)
    path = tmp_path / "good.wav"
    path.write_bytes(b"RIFF")
    before, answered = 0, 0
    try:
        with redis.Redis.from_url(redis_url) as raw:
            for number in range(rounds):
                good = raw.xadd("stt:intake", {"job": json.dumps({"source": str(path)}), "key": f"good-{number}"})
                for _ in range(200):
                    raw.xadd("stt:intake", entry(rng))
                while await intake.once():
                    pass
                replies = {f[b"request"]: f for _, f in raw.xrange("stt:intake:replies")}
                answered += 201
                assert len(replies) == answered
                assert replies[good][b"job"] == f"good-{number}".encode()
                assert not any(f.get(b"refused") == b"internal" for f in replies.values())
                assert raw.xlen("stt:intake") == 0
                before = before or resident_bytes()
            assert raw.xlen("stt:intake:refused") <= 1100
        assert resident_bytes() - before < MAX_GROWTH_BYTES
    finally:
        await connection.close()


def entry(rng: random.Random) -> dict[bytes, bytes]:
    """Return a random intake entry: a nearly valid job, or noise."""
    job: dict[str, Any] = {
        "source": rng.choice(["/no/such.wav", "/dev/zero", "/tmp", "/proc/self/mem", "x", "http://127.0.0.1/a"])
    }
    for name in rng.sample(
        ["out_dir", "out_name", "formats", "speed", "sessions", "language", "priority", "batch", "webhook"], 3
    ):
        job[name] = value(rng)
    text = json.dumps(job).encode()
    at = rng.randrange(len(text))
    makers: list[Callable[[], dict[bytes, bytes]]] = [
        lambda: {b"job": text},
        lambda: {b"job": text[:at] + rng.randbytes(3) + text[at:]},
        lambda: {b"job": text[:at]},
        lambda: {b"job": json.dumps(value(rng)).encode()},
        lambda: {b"job": b"[" * rng.randrange(1, 60_000)},
        lambda: {b"job": rng.randbytes(rng.randrange(1, 70_000))},
        lambda: {b"job": text, b"key": rng.randbytes(rng.randrange(1, 200)), b"force": rng.randbytes(1)},
        lambda: {rng.randbytes(8): rng.randbytes(8) for _ in range(rng.randrange(1, 60))},
    ]
    return rng.choice(makers)()
