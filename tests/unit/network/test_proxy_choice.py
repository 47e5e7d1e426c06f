"""Which proxy is used for which host, from the settings and the environment."""

from __future__ import annotations

import pytest

from worker.errors import SettingsError
from worker.network.proxy_choice import ProxyUnusable, Route, choose_route
from worker.proxy_url import parse_proxy_url
from worker.settings import load
from worker.settings_environment import as_environment

ALL = {"HTTP_PROXY": "http://for-http:1", "HTTPS_PROXY": "http://for-https:2", "ALL_PROXY": "socks5h://for-all:3"}


def route(scheme: str, environ: dict[str, str], host: str = "host.example", port: int = 443) -> Route:
    """The settings and the environment of the process come from the same variables."""
    return choose_route(scheme, host, port, load(environ), environ)


@pytest.mark.parametrize(
    ("scheme", "environ", "proxy", "variable"),
    [
        ("http", ALL, "http://for-http:1", "HTTP_PROXY"),
        ("ws", ALL, "http://for-http:1", "HTTP_PROXY"),
        ("https", ALL, "http://for-https:2", "HTTPS_PROXY"),
        ("wss", ALL, "http://for-https:2", "HTTPS_PROXY"),
        ("wss", {"ALL_PROXY": "socks5h://for-all"}, "socks5h://for-all:1080", "ALL_PROXY"),
        ("wss", {"HTTP_PROXY": "http://x"}, "None", ""),
        ("https", ALL | {"https_proxy": "http://lower:4"}, "http://lower:4", "https_proxy"),
        ("https", {"HTTPS_PROXY": "http://x:1", "https_proxy": ""}, "None", ""),
        ("https", {"HTTPS_PROXY": "", "ALL_PROXY": ""}, "None", ""),
        ("http", {"HTTP_PROXY": "http://x:1", "REQUEST_METHOD": "GET"}, "None", ""),
        ("http", {"http_proxy": "http://x:1", "REQUEST_METHOD": "GET"}, "http://x:1", "http_proxy"),
        ("https", ALL | {"STT_PROXY": "https://own:5"}, "https://own:5", "STT_PROXY"),
        ("http", ALL | {"STT_PROXY": "own:5"}, "http://own:5", "STT_PROXY"),
        ("https", ALL | {"STT_PROXY": ""}, "None", ""),
        ("https", ALL | {"STT_PROXY": "none"}, "None", ""),
        ("https", ALL | {"STT_PROXY": "auto"}, "http://for-https:2", "HTTPS_PROXY"),
        ("https", ALL | {"STT_PROXY": "own:5", "NO_PROXY": "host.example"}, "None", ""),
        ("https", ALL | {"no_proxy": "*", "NO_PROXY": "other"}, "None", ""),
        ("https", ALL | {"no_proxy": "other", "NO_PROXY": "*"}, "http://for-https:2", "HTTPS_PROXY"),
    ],
)
def test_the_variable_of_a_scheme(scheme: str, environ: dict[str, str], proxy: str, variable: str) -> None:
    found = route(scheme, environ)
    assert (str(found.proxy), found.variable) == (proxy, variable)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"],  # noqa: S104
)
def test_loopback_never_uses_a_proxy(host: str) -> None:
    assert route("http", ALL | {"STT_PROXY": "http://own:5"}, host).proxy is None


@pytest.mark.parametrize(
    ("entry", "host", "covered"),
    [
        ("example.com", "example.com", True),
        ("example.com", "a.b.example.com", True),
        ("example.com", "notexample.com", False),
        (".example.com", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("EXAMPLE.com", "example.COM", True),
        ("example.com.", "example.com", True),
        ("example.com", "example.com.", True),
        ("example.com:443", "example.com", True),
        ("example.com:8443", "example.com", False),
        ("a, b,example.com", "example.com", True),
        ("a b example.com", "example.com", True),
        ("10.0.0.0/8", "10.9.8.7", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8:443", "10.9.8.7", True),
        ("10.0.0.1/8", "10.9.8.7", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.11", False),
        ("192.168.*", "192.168.4.5", True),
        ("2001:db8::/32", "2001:db8::5", True),
        ("[2001:db8::5]", "2001:db8:0::5", True),
        ("[2001:db8::5]:443", "2001:db8::5", True),
        ("[2001:db8::5]:80", "2001:db8::5", False),
        ("2001:db8::5", "2001:db8::5", True),
        ("0.2.1", "192.0.2.1", False),
        ("*", "2001:db8::5", True),
        ("例え.jp", "xn--r8jz45g.jp", True),
        ("10.0.0.0/99", "10.0.0.1", False),
        (",, .", "example.com", False),
    ],
)
def test_entries_of_no_proxy(entry: str, host: str, covered: bool) -> None:
    found = route("https", ALL | {"NO_PROXY": entry}, host)
    assert (found.proxy is None) == covered
    assert ("NO_PROXY" in str(found)) == covered


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.example:3128", ("http", "proxy.example", 3128, "", "")),
        ("proxy.example:3128", ("http", "proxy.example", 3128, "", "")),
        ("ann:pw@proxy", ("http", "proxy", 80, "ann", "pw")),
        ("https://proxy/", ("https", "proxy", 443, "", "")),
        ("SOCKS5H://ann:p%40w@[2001:db8::1]:9", ("socks5h", "2001:db8::1", 9, "ann", "p@w")),
        ("socks5://proxy", ("socks5", "proxy", 1080, "", "")),
        ("http://ann:a@b@proxy:1", ("http", "proxy", 1, "ann", "a@b")),
        ("http://ann:w%C3%B6rd@proxy:1", ("http", "proxy", 1, "ann", "wörd")),
    ],
)
def test_addresses_of_proxies(text: str, expected: tuple[object, ...]) -> None:
    found = parse_proxy_url(text)
    assert (found.scheme, found.host, found.port, found.user, found.password) == expected
    assert not found.password or found.password not in f"{found}{found!r}"


@pytest.mark.parametrize(
    "text",
    [
        "ftp://proxy",
        "socks4://ann:s3cret@proxy",
        "http://",
        "http://ann:s3cret/x@proxy",
        "http://ann:s3cret#x@proxy",
        "http://ann:s3cret@proxy:port",
        "http://proxy:99999",
        "http://a b",
        "socks5://ann:s3cret-w%C3%B6rd@proxy",
        "socks5://ann:" + "s3cret" * 50 + "@proxy",
        "socks5://only-a-user@proxy",
    ],
)
def test_an_invalid_proxy_is_refused_without_its_login(text: str) -> None:
    with pytest.raises(ProxyUnusable, match=r"^HTTPS_PROXY: ") as of_environment:
        route("https", {"HTTPS_PROXY": text})
    with pytest.raises(SettingsError, match="STT_PROXY") as of_settings:
        load({"STT_PROXY": text})
    assert "s3cret" not in f"{of_environment.value}{of_settings.value}"


def test_a_child_process_gets_the_same_proxy() -> None:
    for value in ("", "none", "http://ann:pw@proxy:3128"):
        settings = load({"STT_PROXY": value})
        assert load(as_environment(settings)).proxy == settings.proxy
    assert load(as_environment(load({}))).proxy == ""


def test_the_route_is_shown_without_the_login() -> None:
    found = route("https", {"HTTPS_PROXY": "http://ann:s3cret@proxy:3128"})
    assert str(found) == "through the proxy http://proxy:3128 (HTTPS_PROXY, with a login)"
    assert "ann" not in f"{found}{found!r}"
