"""Following a job over HTTP: every commit comes exactly once, also over connections that break."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api import Api, ServerEvent, api_settings, collect, events_of, running_api, words_of
from tests.support.samples_of import a_segment
from tests.support.wait import allowed_s, async_wait_until


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path)) as api:
        yield api


async def test_a_follower_gets_the_commits_live_and_the_end(api: Api) -> None:
    job = await api.upload()
    following = asyncio.create_task(collect(api.alice, f"{job['url']}/events"))
    lease = await api.lease(job["id"])
    for number in range(3):
        await api.commit(lease, number)
    await api.context.producer.events.publish("progress", job["id"], sent_s=3.0, committed_s=2.5, partial="wor")
    await lease.fail("endpoint_busy", "no free session")
    events = await asyncio.wait_for(following, allowed_s(20))
    assert words_of(events) == ["word 0", "word 1", "word 2"]
    assert events[0].name == "status"
    assert events[-1].name == "end"
    assert (events[-1].data["state"], events[-1].data["error_code"]) == ("failed", "endpoint_busy")


async def test_a_commit_without_an_event_arrives_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events may be lost, so a feed also reads the ledger at intervals."""
    monkeypatch.setattr("tasks.api.event_hub.POLL_S", 0.1)
    job = await api.upload()
    following = asyncio.create_task(collect(api.alice, f"{job['url']}/events"))
    lease = await api.lease(job["id"])
    await lease.commit(a_segment("silent", 0, 1))
    await lease.fail("internal", "x")
    assert words_of(await asyncio.wait_for(following, allowed_s(20))) == ["silent"]


async def test_a_client_that_reconnects_continues_after_its_last_commit(api: Api) -> None:
    job = await api.upload()
    await api.transcribe(job["id"], words=5)
    path = f"{job['url']}/events"
    events = await collect(api.alice, path)
    commits = [event for event in events if event.name == "commit"]
    assert len(commits) == len({event.id for event in commits}) == 5
    rest = await collect(api.alice, path, last_event_id=commits[2].id)
    assert words_of(rest) == ["word 3", "word 4"]
    # After the end there is nothing to come: 204 stops an EventSource.
    answer = await api.alice.get(path, headers={"last-event-id": events[-1].id})
    assert answer.status_code == 204
    answer = await api.alice.get(path, headers={"last-event-id": "nonsense"})
    assert answer.status_code == 422


async def test_every_commit_arrives_once_over_connections_that_break(api: Api) -> None:
    """A client that is cut off at random places, as by a proxy, and reconnects like an EventSource."""
    jobs = [await api.upload(b"%d" % n) for n in range(5)]
    rng = random.Random(7)

    async def follow(path: str) -> list[ServerEvent]:
        found: list[ServerEvent] = []
        last = ""
        while True:
            headers = {"last-event-id": last} if last else {}
            left = rng.randint(1, 8)
            async with api.alice.stream("GET", path, headers=headers) as answer:
                async for event in events_of(answer):
                    found.append(event)
                    last = event.id or last
                    left -= 1
                    if event.name == "end":
                        return found
                    if not left:
                        break

    async def work(job_id: str) -> None:
        lease = await api.lease(job_id)
        for number in range(30):
            await api.commit(lease, number)
            await asyncio.sleep(rng.random() / 200)
        await lease.fail("internal", "the end")
        await api.context.producer.events.publish("failed", job_id)

    following = [asyncio.create_task(follow(f"{job['url']}/events")) for job in jobs]
    await asyncio.gather(*(work(job["id"]) for job in jobs))
    for events in await asyncio.wait_for(asyncio.gather(*following), allowed_s(60)):
        assert words_of(events) == [f"word {n}" for n in range(30)]


async def test_a_follower_far_behind_reads_what_is_not_in_memory(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.api.event_hub.MAX_TAIL", 3)
    job = await api.upload()
    async with api.alice.stream("GET", f"{job['url']}/events") as first:
        live = events_of(first)
        await anext(live)
        lease = await api.lease(job["id"])
        for number in range(20):
            await api.commit(lease, number)
        late = asyncio.create_task(collect(api.reader, f"{job['url']}/events"))
        while (await anext(live)).name != "commit":
            pass
        await lease.fail("internal", "x")
        assert words_of(await asyncio.wait_for(late, allowed_s(20))) == [f"word {n}" for n in range(20)]


async def test_feeds_end_with_their_followers(api: Api) -> None:
    job = await api.upload()
    async with api.alice.stream("GET", f"{job['url']}/events") as answer:
        await anext(events_of(answer))
        assert api.context.hub.followers == 1
    await async_wait_until(lambda: not api.context.hub.followers, "the client has gone")
    assert not api.context.hub._feeds


async def test_all_events_contain_no_text(api: Api) -> None:
    async with api.reader.stream("GET", "/v1/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines)
        job = await api.upload()
        await api.context.producer.events.publish("committed", job["id"], text="a secret word", start=0.5)
        seen: list[str] = []
        async with asyncio.timeout(allowed_s(20)):
            async for line in lines:
                seen.append(line)
                if "committed" in line and line.startswith("data"):
                    break
    assert "secret" not in "".join(seen)
    assert (await api.alice.get("/v1/events")).status_code == 403


async def test_a_stop_ends_the_streams(api: Api) -> None:
    job = await api.upload()
    following = asyncio.create_task(collect(api.alice, f"{job['url']}/events"))
    await async_wait_until(lambda: api.context.hub.followers == 1, "the client follows")
    api.context.begin_stop()
    events = await asyncio.wait_for(following, allowed_s(20))
    assert "end" not in [event.name for event in events]  # so the client connects again


async def test_a_client_with_an_id_from_the_future_does_not_delay_the_others(api: Api) -> None:
    """Such an id may come from before Redis lost data."""
    job = await api.upload()
    lease = await api.lease(job["id"])
    await api.commit(lease, 0)
    path = f"{job['url']}/events"
    async with api.alice.stream("GET", path, headers={"last-event-id": "99999999999999-0"}) as first:
        await anext(events_of(first))
        async with api.reader.stream("GET", path) as second, asyncio.timeout(allowed_s(10)):
            live = events_of(second)
            for number in range(3):
                while (event := await anext(live)).name != "commit":
                    pass
                assert event.data["text"] == f"word {number}"
                await api.commit(lease, number + 1)
        await lease.fail("internal", "the end")
    for beyond in ("18446744073709551616-0", "18446744073709551615-18446744073709551615"):
        assert (await api.alice.get(path, headers={"last-event-id": beyond})).status_code == 422


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/{}/events"])
async def test_too_many_followers_get_an_event_with_the_error(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    job = await api.upload()
    monkeypatch.setattr("tasks.api.event_hub.MAX_FOLLOWERS", 0)
    (event,) = await collect(api.reader, path.format(job["id"]))
    assert (event.name, event.data["code"]) == ("error", "too_many_followers")
