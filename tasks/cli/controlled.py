"""What the commands that steer jobs have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tasks.cli import options
from tasks.cli.output import echo, echo_json
from tasks.control import Control
from tasks.producer import Producer


def controlled(steer: Callable[[Control], Awaitable[list[str]]]) -> list[str]:
    """Run one step against the Redis of the settings; the ids of the jobs it changed."""

    async def run() -> list[str]:
        producer = Producer(options.settings_from())
        try:
            await producer.ledger.meet()
            return await steer(Control(producer))
        finally:
            await producer.close()

    return asyncio.run(run())


def tell(word: str, job_ids: Sequence[str], as_json: bool) -> None:
    if as_json:
        echo_json({word: list(job_ids)})
        return
    for job_id in job_ids:
        echo(f"{job_id}  {word}")
    echo(f"{len(job_ids)} jobs {word}")
