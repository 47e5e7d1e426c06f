"""Finds the Valkey of a `stt-batch run` that writes to a folder, for `stt-batch status --out`."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tasks.embedded import STATE_FOLDER
from worker.errors import LedgerRefused, LedgerUnavailable, StackError
from worker.ledger.ledger import Ledger
from worker.settings import Settings

POLL_S: Final = 0.5
"""Seconds between two checks for a started run."""
_LINE: Final = re.compile(r"^(port|requirepass) (\S+)$", re.MULTILINE)


class NoRun(StackError):
    """No run writes to the folder at present."""


async def wait_for_run(settings: Settings, out: Path, on_wait: Callable[[str], None]) -> Settings:
    """Return the settings of `settings_of_run` as soon as a run writes to `out`, which need not exist yet. `on_wait`
    gets the reason of a wait, once. Raises StackError if the state of the run cannot be read."""
    reason = ""
    while True:
        try:
            return await settings_of_run(settings, out)
        except NoRun as exc:
            if not reason:
                reason = str(exc)
                on_wait(reason)
        await asyncio.sleep(POLL_S)


async def settings_of_run(settings: Settings, out: Path) -> Settings:
    """Return the settings to connect to the Valkey of the run that writes to `out`. Raises NoRun if none runs there,
    and StackError if its state cannot be read. The connection only works for users who may read that folder."""
    conf = out / STATE_FOLDER / "valkey.conf"
    hint = f"start `stt-batch run FILES --out {shlex.quote(str(out))}`"
    if (summary := out / "summary.html").is_file():
        hint += f", or see {summary} for the results of the last run"
    try:
        found = dict(_LINE.findall(conf.read_text("utf-8")))
    except FileNotFoundError:
        raise NoRun(f"{out}: no run has written to this folder; {hint}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise StackError(f"{conf}: cannot be read ({exc}); run the command as the user of the run") from None
    if not {"port", "requirepass"} <= found.keys() or not found["port"].isdecimal():
        raise NoRun(f"{conf}: is not complete; {hint}")
    url = f"redis://:{found['requirepass']}@127.0.0.1:{found['port']}/0"
    connected = settings.model_copy(update={"redis_url": url})
    ledger = Ledger(connected)
    try:
        await ledger.ping()
    except (LedgerUnavailable, LedgerRefused):
        # The file of an earlier run remains, and another program may have its port now.
        raise NoRun(f"{out}: no run writes to this folder now; {hint}") from None
    finally:
        await ledger.close()
    return connected
