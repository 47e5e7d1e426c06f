"""The address on which the HTTP API listens."""

from __future__ import annotations

import pytest

from tasks.api.serve import listen_host
from worker.settings import load

EVERYWHERE = "0.0.0.0"  # noqa: S104  not bound


@pytest.mark.parametrize(
    ("keys", "host", "expected"),
    [
        ("", EVERYWHERE, "127.0.0.1"),
        (" , \n", EVERYWHERE, "127.0.0.1"),
        ("", "::1", "::1"),
        ("web:submit:a-key", EVERYWHERE, EVERYWHERE),
    ],
)
def test_without_any_key_only_this_machine_can_connect(keys: str, host: str, expected: str) -> None:
    settings = load({}, redis_url="redis://localhost", http_keys=keys, http_host=host)
    assert listen_host(settings) == expected
