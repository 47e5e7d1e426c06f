"""Deliveries of one process: slow receivers, limits and the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from worker.settings import load
from worker.storage.address import Address, parse
from worker.webhooks import delivery_schedule
from worker.webhooks.delivery_schedule import MAX_CONCURRENT, PAUSED, WebhookDeliverer
from worker.webhooks.http_post import SendResult
from worker.webhooks.outbox import Claimed, Message
from worker.webhooks.receiver_limits import MAX_AFTER_ANSWER, MAX_PER_HOST, MAX_PER_RECEIVER, MAX_UNANSWERED


def message(url: str, number: int) -> Message:
    address = parse(url)
    names = {"receiver": f"r{url}", "host": f"h{address.host}"}
    facts: dict[str, Any] = {"attempts": 1, "subject": "j", "body": b"{}", "due_at": 0.0, "reason": "", "dead": False}
    return Message(id=f"{url} {number}", url=address, to=url, **facts, **names)


class MemoryOutbox:
    """An outbox in memory. Like the script, it claims in order and within the limits of receivers and hosts."""

    def __init__(self, *messages: Message) -> None:
        self.due = list(messages)
        self.delivered: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.dead: list[tuple[str, str]] = []
        self.retries = False
        """Whether failed messages are due again at once."""
        self.more = 0
        """Number of claims that report further due messages beyond the limits."""

    async def check_batches(self) -> int:
        return 0

    async def claim(self, count: int, free: Mapping[str, int]) -> Claimed:
        left, claimed = dict(free), []
        for one in list(self.due):
            names = ((one.receiver, MAX_PER_RECEIVER), (one.host, MAX_PER_HOST))
            if len(claimed) < count and all(left.setdefault(name, most) > 0 for name, most in names):
                for name, _ in names:
                    left[name] -= 1
                self.due.remove(one)
                claimed.append(one)
        self.more -= 1
        return Claimed(claimed, self.more >= 0)

    async def mark_delivered(self, one: Message) -> bool:
        self.delivered.append(one.to)
        return True

    async def retry_later(self, one: Message, delay_s: float, reason: str) -> bool:
        self.failed.append((one.to, reason))
        if self.retries:
            self.due.append(replace(one, attempts=one.attempts + 1))
        return True

    async def dead_letter(self, one: Message, reason: str) -> bool:
        self.dead.append((one.to, reason))
        return True


class SlowSender:
    """Receivers with `hang` in their path never answer; an attempt ends when `release` is set."""

    signs = True

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.tried: Counter[str] = Counter()
        self.running = 0
        self.most = 0

    async def send(self, url: Address, message_id: str, body: bytes, now: float) -> SendResult:
        self.tried[url.host] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if "hang" not in url.shown:
                await asyncio.sleep(0.001)
                return SendResult(True)
            await self.release.wait()
            return SendResult(False, "no answer within 15 s", timed_out=True)
        finally:
            self.running -= 1


@asynccontextmanager
async def delivering(monkeypatch: pytest.MonkeyPatch, outbox: MemoryOutbox, **given: Any) -> AsyncIterator[SlowSender]:
    monkeypatch.setattr(delivery_schedule, "POLL_S", 0.01)
    monkeypatch.setattr(delivery_schedule, "SETTLE_S", 0.0)
    sender = SlowSender()
    settings = load({}, webhook_secret="x" * 24, **given)
    running = asyncio.create_task(WebhookDeliverer(settings, outbox, sender).run())  # type: ignore[arg-type]
    try:
        yield sender
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert sender.running == 0, "no attempt outlives the deliverer"


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.001)


HANGING = [message("https://slow.example/hang", number) for number in range(200)]


@pytest.mark.parametrize("victim", ["https://other.example/ok", "https://slow.example/ok"])
async def test_a_receiver_that_hangs_delays_no_other_receiver(monkeypatch: pytest.MonkeyPatch, victim: str) -> None:
    outbox = MemoryOutbox(*HANGING)
    async with delivering(monkeypatch, outbox) as sender:
        await until(lambda: sender.tried["slow.example"] == MAX_PER_RECEIVER)
        outbox.due.append(message(victim, 0))
        await until(lambda: outbox.delivered == [victim])
        assert not outbox.failed, "the others still hang"


async def test_all_addresses_of_one_host_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = MemoryOutbox(*(message(f"https://slow.example/hang/{number}", number) for number in range(200)))
    async with delivering(monkeypatch, outbox) as sender:
        await until(lambda: sender.tried["slow.example"] == MAX_PER_HOST)
        outbox.due.append(message("https://other.example/ok", 0))
        await until(lambda: outbox.delivered)
        assert sender.tried["slow.example"] == MAX_PER_HOST


async def test_the_number_of_connections_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = MemoryOutbox(*(message(f"https://host{number}.example/hang", number) for number in range(200)))
    async with delivering(monkeypatch, outbox) as sender:
        await until(lambda: sender.running == MAX_CONCURRENT)
        await asyncio.sleep(0.05)
        assert sender.most == MAX_CONCURRENT


async def test_a_receiver_that_did_not_answer_is_not_tried_for_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = MemoryOutbox(*HANGING)
    async with delivering(monkeypatch, outbox) as sender:
        await until(lambda: sender.tried["slow.example"] == MAX_PER_RECEIVER)
        sender.release.set()
        await until(lambda: len(outbox.failed) == len(HANGING))
        assert sender.tried["slow.example"] <= MAX_PER_RECEIVER + MAX_UNANSWERED
        assert outbox.failed[-1] == ("https://slow.example/hang", PAUSED)


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_no_message_becomes_a_dead_letter_without_an_attempt(
    monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    outbox = MemoryOutbox(*HANGING[:50])
    outbox.retries, outbox.more = True, 3
    async with delivering(monkeypatch, outbox, webhook_attempts=attempts) as sender:
        sender.release.set()
        await until(lambda: len(outbox.dead) == 50)
        assert sender.tried["slow.example"] >= 50
        assert PAUSED not in {reason for _, reason in outbox.dead}


async def test_many_messages_to_a_receiver_that_answers_are_all_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = MemoryOutbox(*(message("https://quick.example/ok", number) for number in range(200)))
    async with delivering(monkeypatch, outbox) as sender:
        await until(lambda: len(outbox.delivered) == 200)
        assert MAX_PER_RECEIVER < sender.most <= MAX_AFTER_ANSWER
