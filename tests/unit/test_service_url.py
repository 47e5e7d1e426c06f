"""The forms of STT_URL: path prefix, login, IPv6, slashes, international names."""

from __future__ import annotations

import base64

import pytest

from worker.errors import SettingsError
from worker.secret_masking import masker_of, show_url
from worker.service_url import parse_service_url
from worker.settings import load

API = "/api/stt-realtime-socket"


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://host", "https://host", API),
        ("https://host///", "https://host", API),
        ("wss://host:8443/", "wss://host:8443", API),
        ("https://host/speech", "https://host", f"/speech{API}"),
        ("https://host//a/b//", "https://host", f"/a/b{API}"),
        ("https://host/a%20b", "https://host", f"/a%20b{API}"),
        (f"https://host/speech{API}/", "https://host", f"/speech{API}"),
        ("https://host/x?tenant=7", "https://host?tenant=7", f"/x{API}"),
        ("https://ann:pw@host/x", "https://host", f"/x{API}"),
        ("http://[::1]:8808/", "http://[::1]:8808", API),
        ("https://ann:pw@[2001:DB8::1]", "https://[2001:db8::1]", API),
        ("https://例え.jp/x", "https://xn--r8jz45g.jp", f"/x{API}"),
        ("https://MÜLLER.example:1", "https://xn--mller-kva.example:1", API),
        ("HTTPS://Host", "https://host", API),
        (" https://host ", "https://host", API),
    ],
)
def test_forms_of_the_address(url: str, origin: str, path: str) -> None:
    found = parse_service_url(load({"STT_URL": url}).url, API)
    assert (found.origin, found.path) == (origin, path)
    assert bool(found.authorization) == ("ann" in url)


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("ann:pass%40word", "ann:pass@word"),
        ("ann:a@b", "ann:a@b"),
        ("ann", "ann:"),
        ("token-of-a-user:", "token-of-a-user:"),
        (":only-a-password", ":only-a-password"),
        ("j%C3%B6rg:w%C3%B6rd", "jörg:wörd"),
    ],
)
def test_a_login_becomes_basic_authentication_and_is_masked(login: str, expected: str) -> None:
    settings = load({"STT_URL": f"https://{login}@host/x"})
    found = parse_service_url(settings.url, API)
    sent = base64.b64encode(expected.encode()).decode()
    assert found.authorization == f"Basic {sent}"
    assert "@" not in show_url(settings.url)
    if len(expected) > 5:
        assert sent not in masker_of(settings).text(f"header {sent}")
    assert sent not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "host",
        "https://",
        "https://host:99999",
        "https://host:0",
        "https://host:x",
        "https://ho st",
        "https://host/a\tb\x00",
        "https://ann:s3cret/x@host",
        "https://ann:s3cret#x@host",
        "https://[::1",
        "https://-\u2260..jp",
        f"https://{'ü' * 80}.jp",
    ],
)
def test_an_invalid_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="STT_URL") as refused:
        load({"STT_URL": url})
    assert "s3cret" not in str(refused.value)
