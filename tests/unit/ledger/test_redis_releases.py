"""Doctor names a Redis or Valkey with known vulnerabilities."""

from __future__ import annotations

import pytest

from tests.support import compose
from worker.ledger.redis_releases import unpatched


@pytest.mark.parametrize(
    ("info", "use"),
    [
        ({"redis_version": "7.2.14"}, "7.2.15, 7.4.10, 8.2.8, 8.4.5, 8.6.5, 8.8.1"),
        ({"redis_version": "8.6.2"}, "8.6.5, 8.8.1"),
        ({"redis_version": "7.0.15"}, "7.2.15, 7.4.10, 8.2.8, 8.4.5, 8.6.5, 8.8.1"),
        ({"redis_version": "6.2.22"}, "6.2.23, 7.2.15, 7.4.10, 8.2.8, 8.4.5, 8.6.5, 8.8.1"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.8"}, "8.1.9, 9.0.5, 9.1.1"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, "9.1.1"),
    ],
)
def test_a_vulnerable_release_is_reported_with_the_patched_ones(info: dict[str, str], use: str) -> None:
    found = unpatched(info)
    assert found is not None
    assert found[0].endswith(info.get("valkey_version") or info["redis_version"])
    assert found[1] == use


@pytest.mark.parametrize(
    "info",
    [
        {"redis_version": "7.2.15"},
        {"redis_version": "8.8.1"},
        {"redis_version": "8.10.0"},
        {"redis_version": "7.2.4", "valkey_version": "8.0.10"},
        {"redis_version": "7.2.4", "valkey_version": "9.2.0"},
        {"redis_version": "255.255.255"},
        {"redis_version": "unknown"},
        {},
    ],
)
def test_patched_newer_and_unknown_releases_pass(info: dict[str, str]) -> None:
    assert unpatched(info) is None


def test_the_valkey_of_compose_is_patched() -> None:
    services = compose.load()["services"]
    version = services["valkey"]["image"].partition(":")[2].removesuffix("-alpine")
    assert unpatched({"redis_version": "7.2.4", "valkey_version": version}) is None
