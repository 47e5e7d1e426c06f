"""The command `stt-batch webhooks`, which lists waiting webhooks and dead letters, and sends dead letters again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from tasks.batches.number_format import format_count
from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_json
from worker.ledger.connection import RedisConnection
from worker.ledger.worker_registry import WorkerFacts
from worker.settings import Settings
from worker.webhooks.deliverable import undeliverable
from worker.webhooks.outbox import Message, Outbox

T = TypeVar("T")


@click.command(short_help="List undelivered webhooks; send dead letters again.")
@click.argument("action", type=click.Choice(["list", "retry"]), default="list")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "all_of_them", is_flag=True, help="With `retry`: send all dead letters again.")
@options.as_json
def command(action: str, ids: tuple[str, ...], all_of_them: bool, as_json: bool) -> None:
    """List the webhooks that wait for delivery and the dead letters, or send dead letters again.

    A webhook becomes a dead letter after STT_WEBHOOK_ATTEMPTS, or when another attempt could not succeed. Dead letters
    are stored for 30 days.

    \b
    Examples:
      stt-batch webhooks
      stt-batch webhooks retry msg_8c0f3a...
      stt-batch webhooks retry --all
    """
    if action == "list" and (ids or all_of_them):
        raise click.UsageError("list takes no ids; did you mean: stt-batch webhooks retry")
    if action == "retry":
        if bool(ids) == all_of_them:
            raise click.UsageError("give the ids of webhooks, or --all")
        sent = _run(lambda outbox: _retry(outbox, ids))
        if as_json:
            echo_json({"queued": sent})
        else:
            echo(f"{format_count(len(sent), 'webhook')} queued again")
        unknown = [one for one in ids if one not in sent]
        if unknown:
            echo(f"error: no such dead letters: {', '.join(unknown)}; see stt-batch webhooks", err=True)
            raise SystemExit(1)
        return
    waiting, dead, workers = _run(_all)
    settings = options.settings_from(warn=False)
    found = [_explained(one, workers, settings) for one in waiting] + dead
    if as_json:
        echo_json([_facts(one) for one in found])
        return
    for one in found:
        said = f": {one.reason}" if one.reason else ""
        state = f"failed {_time(one.due_at)}" if one.dead else f"due {_time(one.due_at)}"
        echo(f"{one.id}  {one.subject}  {state}, {format_count(one.attempts, 'attempt')}, {one.to}{said}")
    verb = "waits" if len(waiting) == 1 else "wait"
    echo(f"{len(waiting)} {verb}, {format_count(len(dead), 'dead letter')}")


async def _all(outbox: Outbox) -> tuple[list[Message], list[Message], list[WorkerFacts]]:
    return await outbox.list_messages(dead=False), await outbox.list_messages(dead=True), await outbox.workers()


def _explained(message: Message, workers: Sequence[WorkerFacts], settings: Settings) -> Message:
    """Add to a waiting message the reason why no running worker can deliver it, if that is so."""
    why = None if message.url is None else undeliverable(message.url, workers, settings)
    return message if why is None else replace(message, reason=why)


async def _retry(outbox: Outbox, ids: tuple[str, ...]) -> list[str]:
    if ids:
        return await outbox.requeue(ids)
    sent: list[str] = []
    while some := await outbox.requeue([one.id for one in await outbox.list_messages(dead=True)]):
        sent += some
    return sent


def _run(work: Callable[[Outbox], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = options.settings_from()
        connection = RedisConnection(settings.redis_url)
        try:
            return await work(Outbox(settings, connection))
        finally:
            await connection.close()

    return asyncio.run(run())


def _facts(message: Message) -> dict[str, Any]:
    body = json.loads(message.body) if message.body else {}  # empty for a stored message that cannot be read
    return {
        "id": message.id,
        "state": "dead" if message.dead else "waiting",
        "to": message.to,
        "type": body.get("type"),
        "subject": message.subject,
        "attempts": message.attempts,
        "due_at" if not message.dead else "failed_at": message.due_at,
        "reason": message.reason or None,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
