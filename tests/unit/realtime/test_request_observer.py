"""The reason of a refusal stays known when another request of the same connection succeeds after it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from yarl import URL

from worker.realtime import request_observer
from worker.realtime.refused_response import RefusedResponse
from worker.realtime.request_observer import RequestObserver


def response(status: int) -> Any:
    return SimpleNamespace(status=status, headers={})


async def test_a_later_success_does_not_hide_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(refused: Any) -> RefusedResponse:
        return RefusedResponse(refused.status, {}, "no credit")

    monkeypatch.setattr(request_observer, "read_refusal", read)
    observer = RequestObserver(lambda _: None)

    async def send(method: str, status: int) -> None:
        async def answer(_: Any) -> Any:
            return response(status)

        url = URL("http://127.0.0.1/x?transport=polling&sid=a")
        await observer._middleware(SimpleNamespace(method=method, url=url), answer)  # type: ignore[arg-type]

    await send("GET", 200)
    with pytest.raises(RefusedResponse):
        await send("GET", 402)
    await send("POST", 200)
    assert isinstance(observer.failure, RefusedResponse)
    assert observer.failure.status == 402
