"""Network faults between client and service: closed and reset connections, outages, restarts, unresponsive peers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from tests.support import audiofiles
from tests.support.audiofiles import write_words
from tests.support.measured_run import peak_kb
from tests.support.pipeline_run import KEY, MemoryLog, assert_said, tone_service, transcribe
from tests.support.proxy import Proxy, proxy
from tests.support.tone_recognizer import load as tone_recognizer
from tests.support.tones import ToneWord, speech
from tests.support.wait import async_wait_until
from worker.server import app
from worker.settings import Settings, load

PACE = 16.0
SPOKEN = list(speech(36, seed=31))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.pipeline.session_sequence.BACKOFF_S", (0.05, 0.2))


@pytest.fixture
def spoken() -> list[ToneWord]:
    return SPOKEN


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("network") / "speech.wav", SPOKEN, 16000)


async def when_committed(log: MemoryLog, until_s: float) -> None:
    await async_wait_until(lambda: any(s.end >= until_s for s in log.segments), f"{until_s} s committed", timeout_s=30)


def through(line: Proxy, settings: Settings, **more: str) -> Settings:
    return load({"STT_URL": line.url, "STT_API_KEY": KEY, **more}).model_copy(
        update={"session_max_s": settings.session_max_s}
    )


@pytest.mark.parametrize("at_s", [3.0, 12.0, 24.0])
async def test_a_reset_connection_loses_no_word(recording: Path, spoken: list[ToneWord], at_s: float) -> None:
    log = MemoryLog()
    async with tone_service() as settings, proxy(settings.url) as line:
        job = asyncio.create_task(transcribe(recording, through(line, settings), speed=PACE, log=log))
        await when_committed(log, at_s)
        line.reset()
        transcript = await job
    assert_said(transcript, spoken)
    assert len(transcript.sessions) == 2


async def hole(recording: Path, spoken: list[ToneWord], hole_s: float, stall_s: float, speed: float) -> None:
    log = MemoryLog()
    async with tone_service() as settings, proxy(settings.url) as line:
        bounds = {
            "STT_STALL_TIMEOUT_S": str(stall_s),
            "STT_CONNECT_TIMEOUT_S": str(stall_s),
            "STT_SESSION_RETRIES": "20",
        }
        job = asyncio.create_task(transcribe(recording, through(line, settings, **bounds), speed=speed, log=log))
        await when_committed(log, 6)
        line.hold()
        await asyncio.sleep(hole_s)
        line.release()
        transcript = await job
    assert_said(transcript, spoken)
    assert transcript.coverage.complete


async def test_a_network_outage_loses_no_word(recording: Path, spoken: list[ToneWord]) -> None:
    await hole(recording, spoken, hole_s=3, stall_s=1, speed=PACE)


@pytest.mark.chaos
@pytest.mark.parametrize("speed", [1.0, PACE])
async def test_a_network_outage_of_thirty_seconds_loses_no_word(
    recording: Path, spoken: list[ToneWord], speed: float
) -> None:
    await hole(recording, spoken, hole_s=30, stall_s=10, speed=speed)


async def test_a_network_outage_below_the_timeout_does_not_end_the_session(
    recording: Path, spoken: list[ToneWord]
) -> None:
    log = MemoryLog()
    async with tone_service() as settings, proxy(settings.url) as line:
        job = asyncio.create_task(transcribe(recording, through(line, settings), speed=PACE, log=log))
        await when_committed(log, 6)
        line.hold()
        await asyncio.sleep(1)
        line.release()
        transcript = await job
    assert_said(transcript, spoken)
    assert len(transcript.sessions) == 1


@pytest.mark.parametrize("at_s", [2.0, 10.0, 18.0])
async def test_a_session_that_the_service_closes_as_idle_is_continued(
    recording: Path, spoken: list[ToneWord], at_s: float
) -> None:
    """After STT_SERVER_IDLE_TIMEOUT_S, the service commits the audio it has and closes with code 1000."""
    log = MemoryLog()
    async with tone_service(STT_SERVER_IDLE_TIMEOUT_S="0.5") as settings, proxy(settings.url) as line:
        job = asyncio.create_task(transcribe(recording, through(line, settings), speed=PACE, log=log))
        await when_committed(log, at_s)
        line.hold(up_only=True)
        await asyncio.sleep(1.5)  # the silence itself
        line.release()
        transcript = await job
    assert_said(transcript, spoken)
    assert transcript.coverage.complete
    assert len(transcript.sessions) == 2
    assert (transcript.sessions[0].ended, transcript.sessions[0].close_code) == ("closed", 1000)
    assert "idle: no message from the client for 0.5 s" in transcript.failures[0]


async def test_a_restart_of_the_service_loses_no_word(recording: Path, spoken: list[ToneWord]) -> None:
    log = MemoryLog()
    server_settings = load({"STT_API_KEY": KEY, "STT_SERVER_PORT": "0"})
    first = await app.start(server_settings, tone_recognizer(server_settings))
    await first.ready()
    settings = load(
        {"STT_URL": first.url, "STT_API_KEY": KEY, "STT_SESSION_RETRIES": "20", "STT_CONNECT_TIMEOUT_S": "2"}
    )
    job = asyncio.create_task(transcribe(recording, settings, speed=PACE, log=log))
    await when_committed(log, 10)
    await first.close()
    await asyncio.sleep(0.5)
    again = server_settings.model_copy(update={"server_port": first.port})
    second = await app.start(again, tone_recognizer(again))
    try:
        transcript = await job
    finally:
        await second.close()
    assert_said(transcript, spoken)
    assert len(transcript.sessions) >= 2


def sockets() -> set[tuple[object, ...]]:
    """Return the local and remote address of each TCP socket of this process, including those of servers that tests
    share."""
    return {(one.laddr, one.raddr) for one in psutil.Process().net_connections("tcp")}


def client_tasks() -> list[str]:
    """Return the names of the running tasks of the client. Tasks of the service, which uses the same event loop, are
    not included."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("AsyncClient.", "SessionStream.", "Client."))]


@pytest.mark.parametrize("fault", ["mute=5:1", "stop-reading=5:1", "drop=5:1", "close=5:1", "error=auth_error@5"])
async def test_a_failed_run_leaves_no_tasks_and_no_sockets(recording: Path, fault: str) -> None:
    before = sockets()
    async with tone_service(fault, STT_STALL_TIMEOUT_S="1", STT_CLOSE_TIMEOUT_S="0.5") as settings:
        job = asyncio.create_task(transcribe(recording, settings, speed=PACE))
        await async_wait_until(lambda: len(client_tasks()) >= 3, "a session that runs", timeout_s=5)
        await asyncio.gather(job, return_exceptions=True)
        assert client_tasks() == []
    await async_wait_until(lambda: sockets() <= before, "no socket left", timeout_s=5)


async def stalled_growth_mb(recording: Path, stall_s: float) -> float:
    bounds = {"STT_STALL_TIMEOUT_S": str(stall_s), "STT_CLOSE_TIMEOUT_S": "0.5", "STT_SESSION_RETRIES": "0"}
    async with tone_service("stop-reading=2", **bounds) as settings:
        job = asyncio.create_task(transcribe(recording, settings))
        await asyncio.sleep(min(2.0, stall_s / 2))
        before, started = peak_kb(), time.monotonic()
        await asyncio.gather(job, return_exceptions=True)
        assert time.monotonic() - started < stall_s + 30
        return (peak_kb() - before) / 1024


async def test_memory_does_not_grow_during_a_stall(tmp_path: Path) -> None:
    recording = write_words(tmp_path / "long.flac", list(speech(240, seed=1)), 44100, audiofiles.FLAC, channels=2)
    assert await stalled_growth_mb(recording, 3) < 5


@pytest.mark.chaos
async def test_memory_does_not_grow_during_a_stall_of_a_minute(tmp_path: Path) -> None:
    recording = write_words(tmp_path / "long.flac", list(speech(3600, seed=1)), 44100, audiofiles.FLAC, channels=2)
    assert await stalled_growth_mb(recording, 60) < 5
