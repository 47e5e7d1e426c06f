"""Receivers of webhooks that do not answer, and the webhooks to other receivers that wait behind theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from tests.integration.test_webhooks import SECRET, Post, held
from tests.support.receiver import Receiver, receiver
from tests.support.wait import wait_until
from worker.ledger.ledger import Ledger
from worker.settings import Settings, load
from worker.webhooks.outbox import MAX_READ_PER_CLAIM
from worker.webhooks.receiver_limits import MAX_PER_HOST, MAX_PER_RECEIVER, ReceiverLimits


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url, webhook_secret=SECRET, allowed_webhooks="*", webhook_timeout_s=30)


@pytest.fixture
async def post(settings: Settings) -> AsyncIterator[Post]:
    post = Post(settings)
    yield post
    await post.connection.close()


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path) as one:
        yield one


def add_messages(raw: redis.Redis, url: str, count: int, due_ms: int) -> None:
    """Add messages to the outbox as `webhook_message.lua` does, due from `due_ms` on, in milliseconds since 1970."""
    batch = {"kind": "batch", "batch": "b", "ended": "0", "total": "1", "counts": "{}", "attempts": "0"}
    with raw.pipeline(transaction=False) as pipeline:
        for number in range(count):
            name = f"{url} {number:05}"
            pipeline.hset(f"stt:webhook:{name}", mapping={**batch, "url": url})
            pipeline.zadd("stt:webhooks", {name: due_ms + number})
        pipeline.execute()


async def test_messages_to_a_receiver_at_its_limit_hide_no_others(post: Post, raw: redis.Redis) -> None:
    claim, free = post.outbox.claim, ReceiverLimits()
    add_messages(raw, "http://Slow.example:9000/hang?token=1", 3 * MAX_READ_PER_CLAIM, due_ms=1)
    add_messages(raw, "http://slow.example:9000/ok", 1, due_ms=1_000_000)
    add_messages(raw, "http://other.example/hang", 1, due_ms=1_000_001)
    first = await claim(50)
    assert [one.id[-5:] for one in first.messages] == [f"{number:05}" for number in range(MAX_PER_RECEIVER)]
    assert first.more
    for one in first.messages:
        free.begin(one)
    found, more, calls = list[str](), True, 0
    while more:
        claimed = await claim(50, free.free(0))
        more, calls = claimed.more, calls + 1
        found += [one.to for one in claimed.messages]
    assert found == ["http://slow.example:9000/ok", "http://other.example/hang"]
    assert calls <= 4
    waiting = raw.zrange("stt:webhooks", 0, -1)
    skipped = [name for name in waiting if "hang?" in name and name not in {one.id for one in first.messages}]
    assert len(skipped) == 3 * MAX_READ_PER_CLAIM - MAX_PER_RECEIVER
    assert all(raw.hget(f"stt:webhook:{name}", "attempts") == "0" for name in skipped)


async def test_few_messages_that_are_passed_over_stay_due(post: Post, raw: redis.Redis) -> None:
    add_messages(raw, "http://slow.example/hang", 2 * MAX_PER_RECEIVER, due_ms=1)
    assert len((await post.outbox.claim(50)).messages) == MAX_PER_RECEIVER
    assert len((await post.outbox.claim(50)).messages) == MAX_PER_RECEIVER, "another worker may send them at once"


async def test_all_receivers_of_one_host_share_a_limit(post: Post, raw: redis.Redis) -> None:
    for number in range(2 * MAX_PER_HOST):
        add_messages(raw, f"http://slow.example/hang/{number}", 1, due_ms=1)
    claimed = (await post.outbox.claim(50)).messages
    assert len(claimed) == MAX_PER_HOST
    assert len({one.receiver for one in claimed}) == MAX_PER_HOST
    assert len({one.host for one in claimed}) == 1


async def test_a_receiver_that_hangs_delays_no_other_webhook(ledger: Ledger, post: Post, receiving: Receiver) -> None:
    for number in range(20):
        await (await held(ledger, f"slow-{number}", f"{receiving.url}/hang/99/slow")).fail("x", "y")
    running = asyncio.create_task(post.deliverer.run())
    await asyncio.to_thread(
        wait_until, lambda: len(receiving.requests("/hang/99/slow")) == MAX_PER_RECEIVER, "they hang", timeout_s=10
    )
    await (await held(ledger, "quick", f"{receiving.url}/ok/quick")).fail("x", "y")
    await asyncio.to_thread(wait_until, lambda: receiving.requests("/ok/quick"), "it is delivered", timeout_s=4)
    assert len(receiving.requests("/hang/99/slow")) == MAX_PER_RECEIVER
    running.cancel()
    await asyncio.wait([running])
