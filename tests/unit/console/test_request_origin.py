"""The checks against pages of other sites: names of the host, origins, and the kinds of requests that browsers send."""

from __future__ import annotations

import pytest

from tasks.console.browser_guard import cookie_name
from tasks.console.login_limit import MAX_FAILURES, WINDOW_S, LoginLimit
from tasks.console.request_origin import OriginPolicy, hosts_of

POLICY = OriginPolicy(hosts_of("stt.example.org, other:8443 ,"), {"https://app.example"})


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST:1", "app.localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080",
     "[::1]",
     "10.0.0.5",
     "stt.example.org", "STT.example.org:443", "stt.example.org.", "other"],
)  # fmt: skip
def test_known_hosts_are_accepted(host: str) -> None:
    assert POLICY.refused_host(host) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "evillocalhost",
     "stt.example.org.evil.example", "2130706433", "0x7f.1", "127.1", "[::1].evil", "localhost@evil.example", "*",
     "127.0.0.1, evil.example", "a b"],
)  # fmt: skip
def test_names_that_an_attacker_can_resolve_are_refused(host: str) -> None:
    # A browser itself turns 127.1 and 2130706433 into 127.0.0.1, so these never come from one.
    assert POLICY.refused_host(host)


def refused(method: str = "POST", path: str = "/v1/jobs", **headers: str) -> bool:
    given = {"host": "localhost:8080", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return POLICY.refused_origin(method, path, given) is not None


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://localhost", "http://localhost:3000", "http://localhost:80800",
     "file://", "http://localhost:8080.evil.example", "http://localhost:8080@evil.example",
     "chrome-extension://localhost:8080",
     "http://[broken"],
)  # fmt: skip
def test_requests_of_other_origins_are_refused(method: str, origin: str) -> None:
    assert refused(method, origin=origin)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unknown"])
@pytest.mark.parametrize(
    ("mode", "dest"),
    [("no-cors", "image"), ("no-cors", "audio"), ("no-cors", "script"), ("navigate", "iframe"), ("navigate", "object"),
     ("cors", "empty")],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/console/events", "/v1/jobs/a/audio", "/console/jobs/a/page"])
def test_resources_are_not_loaded_into_other_sites(site: str, mode: str, dest: str, path: str) -> None:
    assert refused("GET", path, sec_fetch_site=site, sec_fetch_mode=mode, sec_fetch_dest=dest)


def test_a_link_from_another_site_opens_the_page_and_nothing_else() -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert not refused("GET", "/", **link)
    assert refused("GET", "/v1/jobs", **link)
    assert refused("POST", "/", **link)


def test_the_page_itself_and_programs_are_accepted() -> None:
    assert not refused("POST", origin="http://localhost:8080", sec_fetch_site="same-origin")
    assert not refused("POST", origin="https://LOCALHOST:8080")  # behind a proxy that ends TLS
    assert not refused("GET", sec_fetch_site="same-origin")
    assert not refused("GET", sec_fetch_site="none")
    assert not refused("POST")  # curl
    assert not refused("POST", origin="https://app.example", sec_fetch_site="cross-site")  # STT_HTTP_CORS_ORIGINS


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost:8080", "stt_session_8080"), ("localhost", "stt_session"), ("[::1]:81", "stt_session_81"),
     ("[::1]", "stt_session"), ("a:b;c", "stt_session")],
)  # fmt: skip
def test_each_port_has_a_cookie_of_its_own(host: str, name: str) -> None:
    assert cookie_name(host) == name


def test_wrong_keys_slow_the_login_down() -> None:
    now = [0.0]
    limit = LoginLimit(lambda: now[0])
    for _ in range(MAX_FAILURES):
        assert limit.wait_s() == 0
        limit.failed()
    assert limit.wait_s() == WINDOW_S
    now[0] = WINDOW_S
    assert limit.wait_s() == 0
