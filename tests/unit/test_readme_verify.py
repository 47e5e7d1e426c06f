"""README's function for receivers of webhooks accepts or refuses any headers without an exception."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import readme
from worker.settings import load
from worker.webhooks.http_post import signature, signing_keys

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
BODY = b'{"type":"job.done"}'
VERIFY: Any = readme.pasted_verify()["verify"]


def signed(**changed: str) -> dict[str, str]:
    at = int(time.time())
    keys = signing_keys(load({"STT_WEBHOOK_SECRET": SECRET}))
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature(keys, "msg_1", at, BODY),
    }
    return {**headers, **{f"webhook-{name}": value for name, value in changed.items()}}


def test_our_signature_is_accepted_among_others() -> None:
    # The same headers throughout: a signature is valid for one second of the timestamp only.
    headers = signed()
    assert VERIFY(SECRET, headers, BODY)
    good = headers["webhook-signature"]
    for among in (f"v1,AAAA {good}", f"{good} v2,é", f"v1a,x  {good}"):
        assert VERIFY(SECRET, {**headers, "webhook-signature": among}, BODY)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "msg_2"},
        {"id": "é\udcff\ud800"},
        {"timestamp": ""},
        {"timestamp": "soon"},
        {"timestamp": "-1"},
        {"timestamp": "+1"},
        {"timestamp": "1_0"},
        {"timestamp": "1e9"},
        {"timestamp": "١٢٣"},
        {"timestamp": "²"},
        {"timestamp": "9" * 5000},
        {"timestamp": "1600000000"},
        {"timestamp": "inf"},
        {"timestamp": "nan"},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "v1,é"},
        {"signature": "\udcff\ud800"},
        {"signature": "\x00"},
        {"signature": ", ,"},
        {"signature": "v1 " * 1000},
    ],
)
def test_other_headers_are_refused_without_an_exception(changed: dict[str, str]) -> None:
    assert VERIFY(SECRET, signed(**changed), BODY) is False


def test_missing_headers_are_refused() -> None:
    for name in signed():
        assert VERIFY(SECRET, {key: value for key, value in signed().items() if key != name}, BODY) is False
    assert VERIFY(SECRET, {}, b"") is False


ANY = st.text(st.characters(codec=None), max_size=40)


@given(st.dictionaries(st.sampled_from(list(signed())), ANY | st.integers().map(str)), st.binary(max_size=20))
def test_no_headers_raise_an_exception(headers: dict[str, str], body: bytes) -> None:
    assert VERIFY(SECRET, headers, body) is False
