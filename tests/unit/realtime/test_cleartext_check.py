"""Addresses that would send the key in clear text over a public network."""

from __future__ import annotations

import pytest

from worker.realtime.cleartext_check import sends_key_in_clear


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://stt.example.com", True),
        ("ws://stt.example.com/", True),
        ("HTTP://STT.EXAMPLE.COM.", True),
        ("http://8.8.8.8:8808", True),
        ("http://[2001:4860:4860::8888]", True),
        ("http://localhost.example.com", True),
        ("http://10.example.com", True),
        ("https://stt.example.com", False),
        ("wss://stt.example.com", False),
        ("http://127.0.0.1:8808", False),
        ("http://[::1]:8808", False),
        ("http://localhost:8808", False),
        ("http://server:8808", False),
        ("http://10.1.2.3", False),
        ("http://192.168.1.5", False),
        ("http://[fd00::1]", False),
        ("http://[fe80::1%25eth0]", False),
        ("http://stt.internal", False),
        ("http://stt.namespace.svc.cluster.local", False),
        ("", False),
    ],
)
def test_an_unencrypted_public_address_sends_the_key_in_clear_text(url: str, clear: bool) -> None:
    assert sends_key_in_clear(url) is clear
