"""The command `stt-batch ledger check`, which compares the records in Redis with the rules that they follow."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Final

import click

from tasks.batches.number_format import format_count
from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_json
from worker.ledger import schema
from worker.ledger.connection import RedisConnection
from worker.ledger.consistency import REMEDIES, TEXTS, LedgerCheck, Problem
from worker.ledger.keys import Keys
from worker.settings import Settings

MAX_SHOWN: Final = 200
"""Maximum number of problems that are printed; all of them are counted and repaired."""


@click.command(short_help="Check the records in Redis, and repair them.")
@click.argument("action", type=click.Choice(["check"]))
@click.option("--fix", is_flag=True, help="Repair the problems that can be repaired.")
@options.as_json
def command(action: str, fix: bool, as_json: bool) -> None:
    """Compare every key below STT_REDIS_PREFIX with the rules of the ledger: states, leases, lists and expiries.

    Use it after a restore, or when jobs seem to be stuck. Workers may run meanwhile. With --fix, jobs return to the
    lists where they belong, entries without a record are removed, and missing expiries are set. A job whose committed
    text is lost in part starts over. Exit status 1 if problems remain.

    \b
    Examples:
      stt-batch ledger check
      stt-batch ledger check --fix
      stt-batch ledger check --json
    """
    settings = options.settings_from()
    problems, checked, count, left = asyncio.run(_check(settings, fix))
    if as_json:
        documents = [{**asdict(one), "text": TEXTS[one.code], "remedy": REMEDIES.get(one.code)} for one in problems]
        echo_json({"ok": not left, "checked": checked, "found": count, "remaining": left, "problems": documents})
    else:
        for one in problems:
            echo(_line(one))
        if count > len(problems):
            echo(f"and {count - len(problems)} more problems")
        echo(_summary(settings, checked, count, left, fix))
    raise SystemExit(1 if left else 0)


async def _check(settings: Settings, fix: bool) -> tuple[list[Problem], int, int, int]:
    """Return the first MAX_SHOWN problems, and the numbers of checked keys, problems and remaining problems."""
    connection = RedisConnection(settings.redis_url)
    try:
        # A check on a ledger of a newer version could call correct records wrong, and --fix could damage them.
        found = await schema.read(connection, Keys(settings.redis_prefix))
        if found is not None and not found.readable:
            raise schema.newer_error(str(found.reader))
        shown, count, left = list[Problem](), 0, 0
        ledger_check = LedgerCheck(settings, connection, fix=fix)
        async for problem in ledger_check.problems():
            count += 1
            left += not problem.repaired
            if len(shown) < MAX_SHOWN:
                shown.append(problem)
        return shown, ledger_check.checked, count, left
    finally:
        await connection.close()


def _line(one: Problem) -> str:
    detail = f" ({one.detail})" if one.detail else ""
    end = "; repaired" if one.repaired else f"; {REMEDIES[one.code]}" if one.code in REMEDIES else ""
    return f"{one.subject}: {TEXTS[one.code]}{detail}{end}"


def _summary(settings: Settings, checked: int, count: int, left: int, fix: bool) -> str:
    keys = f"{format_count(checked, 'key')} below {settings.redis_prefix} checked"
    if not count:
        return f"{keys}: no problems"
    repaired = f", {count - left} repaired" if fix else ""
    way = "; repair with: stt-batch ledger check --fix" if not fix and left else ""
    return f"{keys}: {format_count(count, 'problem')}{repaired}{way}"
