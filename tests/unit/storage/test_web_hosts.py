"""Hosts in the form of the HTTP library: every spelling of a private address is refused, on every version of Python."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from worker.errors import BadJob, SourceRefused
from worker.settings import load
from worker.storage.access_policy import check_source, check_webhook
from worker.storage.address import parse
from worker.storage.web_hosts import is_private, request_url


def table(text: str) -> list[str]:
    return text.split()


# Addresses of this machine, of its network and of the metadata services of clouds, in forms that some URL parser
# accepts.
PRIVATE = table("""
127.0.0.1 127.0.0.1. 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 169.254.169.254
172.31.0.1 192.0.0.1 192.0.0.9 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255
198.51.100.7 203.0.113.7 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 168.63.129.16 [::] [::1] [::ffff:127.0.0.1]
[::ffff:7f00:1] [0:0:0:0:0:ffff:a00:1] [::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1]
[64:ff9b::a9fe:a9fe] [64:ff9b:1::1] [64:ff9b:1:ffff::8.8.8.8] [100::1] [100:0:0:1::1] [2001::1] [2001:0:7f00:1::]
[2001:2::1] [2001:10::1] [2001:20::1] [2001:db8::1] [2002:7f00:1::] [2002:808:808::1] [3fff::1] [5f00::1]
[fc00::1] [fd00:ec2::254] [fd20:ce::254] [fe80::1] [febf::1] [fec0::1] [feff::1] [ff02::1] [4000::1] [8000::1]
localhost LOCALHOST localhost. a.localhost localhost.localdomain ip6-localhost metadata.google.internal
METADATA.google.internal. metadata metadata.goog
instance-data １２７.0.0.1 ①②⑦.0.0.1 127。0。0。1 127｡0｡0｡1 127．0．0．1
𝟏𝟐𝟕.𝟎.𝟎.𝟏 ⓛocalhost ｌｏｃａｌｈｏｓｔ ℓocalhost ¹²⁷.0.0.1 1₂7.0.0.1
""")
# Addresses that programs read differently, or to which no connection is possible. They are refused before a job is
# queued.
UNREADABLE = table("""
0x7f.1 0x7f000001 0X7F000001 2130706433 017700000001 0177.0.0.1 00127.0.0.1 127.1 127.0.1 127.0.0.01 127.0.0.256
1.2.3 1.2.3.4.5 1.2.3.4.. 0 0x 1 999 a.1 example.0x10 １２７.1 ０x7f.1 ٠.1 [::1%25eth0] [fe80::1%eth0] [fe80::1%25lo]
[::1 [v1.fe80::a] [1.2.3.4] ::1 [::g] a..b .a . .. %31%32%37.0.0.1 localhost%00.example.com localhost%2f a%2eb
exa%20mple a,b a;b * *.example.com a|b a^b a`b "a" <a> {a} a\\b a\\@b a@b user@a :x@a @a a:0 a:65536 a:-1 a:８０
a:80:80 a:x xn-- a／b a\u00adb\u2060 \u202e.com a\u200b。..b 127.0.0.1\u00ad a..
""")
UNREADABLE += ["", "a" * 64 + ".com", ".".join(["a" * 60] * 5), "é" * 70 + ".com", "xn--" + "a" * 60 + ".com"]
PUBLIC = table("""
8.8.8.8 1.1.1.1 93.184.216.34 100.63.255.255 100.128.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1
223.255.255.255 168.63.129.17 [2001:4860:4860::8888] [2606:4700::1111] [64:ff9b::808:808] [::ffff:8.8.8.8]
[2001:200::1] example.com EXAMPLE.com. bücher.example xn--bcher-kva.example _a.example a-b.example.com service_1
10.example.com 127.0.0.1.example.com 0x7f.1.example.com metadata.example.com
""")


def strangers(host: str) -> str:
    return f"http://{host}/a.wav"


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_in_every_spelling(host: str) -> None:
    settings = load({})
    with pytest.raises(SourceRefused, match="has a private address"):
        check_source(parse(strangers(host)), settings)
    with pytest.raises(BadJob, match="has a private address"):
        check_webhook(parse(strangers(host)), settings)
    # Neither a list of other hosts nor an entry for its parent domain allows it.
    with pytest.raises(SourceRefused):
        check_source(
            parse(strangers(host)), load({"STT_ALLOWED_SOURCES": "https://example.com, http://*.0.0.1, http://*.1"})
        )


@pytest.mark.parametrize("host", UNREADABLE)
def test_hosts_that_programs_read_differently_are_refused(host: str) -> None:
    for check in (check_source, check_webhook):
        with pytest.raises(
            (BadJob, SourceRefused), match=r"is not a valid address: .|must not contain a user|private address"
        ):
            check(parse(strangers(host)), load({}))


@pytest.mark.parametrize("host", PUBLIC)
def test_public_hosts_are_requested_in_the_checked_form(host: str) -> None:
    check_source(parse(strangers(host)), load({}))
    address = parse(strangers(host))
    assert address.http_url is not None
    assert address.http_url.raw_host == address.host
    check_source(parse(strangers(host)), load({"STT_ALLOWED_SOURCES": strangers(host)}))


def test_an_entry_names_its_host_in_any_spelling() -> None:
    settings = load(
        {"STT_ALLOWED_SOURCES": "http://１０.0.0.5, https://*.BÜCHER.example, http://[::0001]:80, http://[x"}
    )
    for source in ("http://10.0.0.5/a", "https://a.xn--bcher-kva.example/a", "http://[0::1]/a"):
        check_source(parse(source), settings)
    with pytest.raises(SourceRefused):
        check_source(parse("http://10.0.0.6/a"), settings)


def test_the_table_does_not_depend_on_the_version_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        monkeypatch.setattr(kind, "is_global", property(lambda _: True))
    hosts = [request_url(strangers(host)).raw_host or "" for host in PRIVATE]
    addresses = [host for host in hosts if ":" in host or host[0].isdigit()]
    assert len(addresses) > 60
    assert [host for host in addresses if not is_private(host)] == []


@pytest.mark.parametrize(
    ("text", "requested"),
    [
        ("https://Host.example./a%20b/c%2Fd?sig=%2B%20+a", "https://host.example/a%20b/c%2Fd?sig=%2B%20+a"),
        ("https://bücher.example/%7Ea?x=%7e", "https://xn--bcher-kva.example/%7Ea?x=%7e"),
        ("http://host:8080", "http://host:8080/"),
        ("http://host/粵 語.wav".replace(" ", ""), "http://host/%E7%B2%B5%E8%AA%9E.wav"),
        ("http://[0:0::2]:81/x", "http://[::2]:81/x"),
    ],
)
def test_path_and_query_are_requested_as_given(text: str, requested: str) -> None:
    assert str(request_url(text)) == requested


@given(st.text(st.sampled_from([*"0127.x:[]%@/\\#?。．①②⑦１２ａé-_ \u00ad"]), max_size=14))
@example("127.0.0.1#@8.8.8.8")
@example("8.8.8.8\\@127.0.0.1")
@example("127.0.0.1?@8.8.8.8")
def test_the_checked_host_is_the_requested_one(host: str) -> None:
    try:
        address = parse(f"http://{host}/a.wav")
    except BadJob:
        return
    requested = URL(str(address.http_url), encoded=True)
    assert requested.raw_host == address.host
    assert requested.port == address.port
