"""A worker that does not pause a refused key: sessions fail at once for a minute, then they try again."""

from __future__ import annotations

import pytest

from tasks.execution import key_gate
from tasks.execution.key_gate import MEMORY_S, KeyGate
from worker.errors import AccountRefused
from worker.realtime.slots import UnlimitedSlots


async def test_a_refusal_is_remembered_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(key_gate.time, "monotonic", lambda: now)
    gate = KeyGate(UnlimitedSlots())
    async with gate.slot("first"):
        pass
    await gate.refused("first", AccountRefused("no credit"))
    for later_s in (0.0, MEMORY_S - 1):
        now = 1000.0 + later_s
        with pytest.raises(AccountRefused, match="no credit"):
            async with gate.slot("second"):
                pass
    now = 1000.0 + MEMORY_S + 1
    async with gate.slot("third"):
        pass
