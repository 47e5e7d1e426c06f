"""The address on which the HTTP API listens."""

from __future__ import annotations

import pytest

from tasks.api.serve import listen_host
from worker.settings import load


@pytest.mark.parametrize(
    ("keys", "host", "expected"),
    [
        ("", "0.0.0.0", "127.0.0.1"),
        (" , \n", "0.0.0.0", "127.0.0.1"),
        ("", "::1", "::1"),
        ("web:submit:a-key", "0.0.0.0", "0.0.0.0"),
    ],
)  # fmt: skip
def test_without_any_key_only_this_machine_can_connect(keys: str, host: str, expected: str) -> None:
    settings = load({}, redis_url="redis://localhost", http_keys=keys, http_host=host)
    assert listen_host(settings) == expected
