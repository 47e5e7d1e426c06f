"""The backlog of a session: its limit, and the throttling of clients."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wait import allowed_s
from worker.server.session_limits import Backlog


@given(st.lists(st.floats(0.01, 10), max_size=60))
def test_recognized_audio_leaves_no_backlog(chunks: list[float]) -> None:
    backlog = Backlog(1e9)
    for audio_s in chunks:
        backlog.received(audio_s)
    assert backlog.total_s == pytest.approx(sum(chunks))
    for audio_s in chunks:
        backlog.utterance_queued(audio_s / 2)
        backlog.segmented(audio_s)
    assert backlog.recognizing is bool(chunks)
    for audio_s in reversed(chunks):
        backlog.recognized(audio_s / 2)
    assert not backlog.recognizing
    assert backlog.total_s == 0


def test_a_backlog_above_the_limit_overflows() -> None:
    backlog = Backlog(10)
    backlog.received(10)
    assert not backlog.overflows
    backlog.received(0.1)
    assert backlog.overflows
    backlog.segmented(0.2)
    assert not backlog.overflows


async def held(backlog: Backlog, audio_s: float) -> asyncio.Task[None]:
    task = asyncio.create_task(backlog.throttle(audio_s))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_below_half_of_the_limit_clients_are_not_slowed() -> None:
    backlog = Backlog(10)
    backlog.received(5)
    assert (await held(backlog, 100)).done()


async def test_above_half_of_the_limit_a_client_waits_for_room() -> None:
    backlog = Backlog(10)
    backlog.received(8)
    task = await held(backlog, 100)
    assert not task.done()
    backlog.segmented(2)
    await asyncio.sleep(0)
    assert not task.done()
    backlog.segmented(1)
    await asyncio.wait_for(task, allowed_s(1))


async def test_a_client_never_waits_longer_than_its_audio_lasts() -> None:
    backlog = Backlog(10)
    backlog.received(8)
    await asyncio.wait_for(backlog.throttle(0.01), allowed_s(1))
    assert backlog.total_s == 8


async def test_the_end_of_the_session_ends_all_waits() -> None:
    backlog = Backlog(10)
    backlog.received(8)
    task = await held(backlog, 100)
    backlog.release()
    await asyncio.wait_for(task, allowed_s(1))
