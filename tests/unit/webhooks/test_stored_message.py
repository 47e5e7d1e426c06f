"""Reading a message of the outbox from Redis."""

from __future__ import annotations

import pytest

from worker.webhooks import outbox

BATCH = {"kind": "batch", "batch": "b", "ended": "0", "total": "1", "counts": "{}"}


def test_the_receiver_is_parsed_when_the_message_is_read() -> None:
    message = outbox._message("m", {**BATCH, "url": "https://host/hook?token=secret"}, attempts=1, due_at=0)
    assert message.url is not None
    assert (message.url.host, message.to, message.reason) == ("host", "https://host/hook?…", "")
    assert "secret" not in repr(message)


@pytest.mark.parametrize("url", ["https://u:secret@host/", "https://host:port/", "ftp://host/?secret", "https://"])
def test_a_message_without_a_usable_receiver_does_not_stop_the_others(url: str) -> None:
    message = outbox._message("m", {**BATCH, "url": url}, attempts=1, due_at=0)
    assert message.url is None
    assert message.reason.startswith(message.to)
    assert message.body
    assert "secret" not in message.to
