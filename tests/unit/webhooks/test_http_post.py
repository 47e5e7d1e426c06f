"""Allowed receivers of webhooks, signatures, and the meaning of responses."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from worker.errors import BadJob, SettingsError
from worker.settings import load
from worker.storage.access_policy import check_webhook, webhook_may_be_private
from worker.storage.address import parse
from worker.webhooks import http_post
from worker.webhooks.http_post import WebhookSender, signature, signing_keys

LISTED = "https://hooks.example.com/stt, https://*.cdn.example.com, http://10.0.0.5:9000"
NOW = 1795419720.0  # 2026-11-23 07:42:00 UTC


@pytest.mark.parametrize(
    ("allowed", "url", "may"),
    [
        ("", "https://example.com/hook", True),
        ("", "http://example.com/hook", True),
        ("", "https://93.184.216.34/hook", True),
        ("", "https://127.0.0.1/hook", False),
        ("", "https://localhost/hook", False),
        ("", "https://localhost./hook", False),
        ("", "https://169.254.169.254/latest/meta-data", False),
        ("", "https://[::1]/hook", False),
        ("", "https://[::ffff:10.0.0.1]/hook", False),
        ("", "https://[64:ff9b::7f00:1]/hook", False),
        ("", "s3://bucket/hook", False),
        ("", "/hook", False),
        ("", "file:///etc/passwd", False),
        ("", "https://user:secret@example.com/hook", False),
        ("*", "https://127.0.0.1/hook", True),
        (LISTED, "https://hooks.example.com/stt/1", True),
        (LISTED, "https://hooks.example.com/other", False),
        (LISTED, "https://hooks.example.com/stt/../other", False),
        (LISTED, "http://hooks.example.com/stt", False),
        (LISTED, "https://a.cdn.example.com/x", True),
        (LISTED, "https://example.com/x", False),
        (LISTED, "http://10.0.0.5:9000/x", True),
        (LISTED, "http://10.0.0.5/x", False),
    ],
)
def test_allowed_receivers(allowed: str, url: str, may: bool) -> None:
    settings = load({}, allowed_webhooks=allowed)
    if may:
        check_webhook(parse(url), settings)
    else:
        with pytest.raises(BadJob) as refused:
            check_webhook(parse(url), settings)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("allowed", "expected"), [("", False), ("https://*.example.com", False), ("*", True)])
def test_an_entry_for_a_domain_does_not_allow_its_private_hosts(allowed: str, expected: bool) -> None:
    assert webhook_may_be_private(parse("https://a.example.com/x"), load({}, allowed_webhooks=allowed)) is expected


async def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def resolve(_self: Any, host: str, port: int = 0, family: Any = 0) -> list[dict[str, Any]]:
        asked.append(host)
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in ("93.184.216.34", "10.0.0.7")
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    sender = WebhookSender(load({}, webhook_secret="x" * 24, allowed_webhooks="https://*.example.com"))
    answer = await sender.send(parse("https://hooks.example.com/x?token=1"), "msg_1", b"{}", NOW)
    assert asked == ["hooks.example.com"]
    assert (answer.delivered, answer.final) == (False, True)
    assert answer.reason.startswith("https://hooks.example.com/x?…: has a private address")


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
def test_the_signature_is_the_one_of_the_official_library(key: bytes, text: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    body = json.dumps({"text": text}).encode()
    keys = signing_keys(load({}, webhook_secret=secret))
    assert keys == (key,)
    official = Webhook(secret).sign("msg_1", datetime.fromtimestamp(int(NOW), UTC), body.decode())
    assert signature(keys, "msg_1", int(NOW), body) == official


def test_two_secrets_give_two_signatures() -> None:
    old, new = "o" * 24, "n" * 24
    keys = signing_keys(load({}, webhook_secret=f"{new}, {old}"))
    both = signature(keys, "msg_1", 1, b"{}").split(" ")
    assert both == [signature((key.encode(),), "msg_1", 1, b"{}") for key in (new, old)]


@pytest.mark.parametrize("secret", ["short", "whsec_not base64!", "whsec_AAAA"])
def test_an_invalid_secret_is_refused(secret: str) -> None:
    with pytest.raises(SettingsError, match="STT_WEBHOOK_SECRET") as refused:
        signing_keys(load({}, webhook_secret=secret))
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [
        (200, "", (True, False, 0.0)),
        (204, "5", (True, False, 0.0)),
        (301, "", (False, False, 0.0)),
        (404, "", (False, False, 0.0)),
        (410, "", (False, True, 0.0)),
        (429, "30", (False, False, 30.0)),
        (503, "999999999999", (False, False, 3600.0)),
        (503, "Mon, 23 Nov 2026 07:42:30 GMT", (False, False, 30.0)),
        (503, "Mon, 23 Nov 2020 00:00:00 GMT", (False, False, 0.0)),
        (503, "soon", (False, False, 0.0)),
        (503, "²", (False, False, 0.0)),
    ],
)
def test_responses_of_receivers(status: int, retry_after: str, expected: tuple[bool, bool, float]) -> None:
    answer = http_post._result_of(status, retry_after, NOW)
    assert (answer.delivered, answer.final, answer.pause_s) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 01 Jan 2024 00:00:00 +9999999999999",
        "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        *("Mon, 01 Jan 0001 00:00:00 +2300", "Mon, 01 Jan 0001 00:00:00 -9999", "²", "9" * 5000, "(" * 8000, "\x00"),
    ],
)
def test_any_retry_after_is_accepted(text: str) -> None:
    """If parsing Retry-After raised an exception, the webhook would never be marked as finished. It would then be sent
    again for three days."""
    assert 0 <= http_post._result_of(503, text, NOW).pause_s <= http_post.MAX_RETRY_AFTER_S
