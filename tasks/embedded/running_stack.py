"""Finds the Valkey of a `stt-batch run` that writes to a folder, for `stt-batch status --out`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tasks.embedded import STATE_FOLDER
from worker.errors import LedgerRefused, LedgerUnavailable, StackError
from worker.ledger.ledger import Ledger
from worker.settings import Settings

_LINE: Final = re.compile(r"^(port|requirepass) (\S+)$", re.MULTILINE)


async def settings_of_run(settings: Settings, out: Path) -> Settings:
    """Return the settings to connect to the Valkey of the run that writes to `out`. Raises StackError if none runs
    there. The connection only works for users who may read the folder of its state."""
    conf = out / STATE_FOLDER / "valkey.conf"
    hint = "start `stt-batch run` with this --out, or see its summary.html"
    try:
        found = dict(_LINE.findall(conf.read_text("utf-8")))
    except FileNotFoundError:
        raise StackError(f"{out}: no run writes to this folder; {hint}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise StackError(f"{conf}: cannot be read ({exc}); run the command as the user of the run") from None
    if not {"port", "requirepass"} <= found.keys() or not found["port"].isdecimal():
        raise StackError(f"{conf}: is not complete; {hint}")
    url = f"redis://:{found['requirepass']}@127.0.0.1:{found['port']}/0"
    connected = settings.model_copy(update={"redis_url": url})
    ledger = Ledger(connected)
    try:
        await ledger.ping()
    except (LedgerUnavailable, LedgerRefused):
        # The file of an earlier run remains, and another program may have its port now.
        raise StackError(f"{out}: no run writes to this folder now; {hint}") from None
    finally:
        await ledger.close()
    return connected
