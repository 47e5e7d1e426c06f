"""Parsing of addresses, and their form for display, which contains no secret."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadJob
from worker.storage.address import from_path, parse, scrub, show


@pytest.mark.parametrize(
    ("text", "scheme", "bucket", "key", "name"),
    [
        ("s3://calls/2026/a b.wav", "s3", "calls", "2026/a b.wav", "a b.wav"),
        ("S3://calls/a%20b.wav", "s3", "calls", "a%20b.wav", "a%20b.wav"),
        ("s3://calls/what?is#this.wav", "s3", "calls", "what?is#this.wav", "what?is#this.wav"),
        ("s3://calls/me@home.wav", "s3", "calls", "me@home.wav", "me@home.wav"),
        ("gs://calls", "gs", "calls", "", ""),
        ("az://container//a.wav", "az", "container", "a.wav", "a.wav"),
        ("s3://calls/..a/b..", "s3", "calls", "..a/b..", "b.."),
        ("s3://calls/in/", "s3", "calls", "in/", ""),
        ("https://Host.example/x/a%20b.wav?sig=1#t", "https", "host.example", "x/a%20b.wav", "a b.wav"),
        ("http://127.0.0.1:9000/a.wav", "http", "127.0.0.1:9000", "a.wav", "a.wav"),
        ("http://[::1]:80/a.wav", "http", "[::1]:80", "a.wav", "a.wav"),
        ("https://host", "https", "host", "", ""),
    ],
)
def test_parts_of_an_address(text: str, scheme: str, bucket: str, key: str, name: str) -> None:
    address = parse(text)
    assert (address.scheme, address.bucket, address.key, address.name) == (scheme, bucket, key, name)


@pytest.mark.parametrize("text", ["/audio/a.wav", "a.wav", "C:\\a.wav", "s3:/a", "call: 3.wav", "//host/a", ""])
def test_texts_that_are_paths(text: str) -> None:
    assert parse(text).is_file
    assert parse(text).text == parse(text).shown == show(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host/a.wav", "ftp:// is not supported; give a path, or s3://"),
        ("file:///a.wav", "file:// is not supported"),
        ("s3:///a.wav", "names no bucket"),
        ("az://", "names no container"),
        ("s3://no such bucket/a", "names no bucket"),
        ("s3://calls/a//b", "empty parts"),
        ("s3://calls/../b", "`..` as a part"),
        ("s3://calls/a/.", "`.` or"),
        ("s3://calls/a\nb", "control characters"),
        ("s3://id:secret@calls/a.wav", "s3://calls/a.wav: must not contain a key"),
        ("https://me:secret@host/a.wav", "https://host/a.wav: must not contain a user"),
        ("https:///a.wav", "names no host"),
        ("https://host:port/a.wav", "is not a valid address"),
        ("https://host/a b.wav", "contains a space"),
    ],
)
def test_invalid_addresses_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadJob) as caught:
        parse(text)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a.wav?X-Amz-Signature=secret", "https://host/a.wav?…"),
        ("https://host/a.wav#secret", "https://host/a.wav"),
        ("https://host?sig=secret", "https://host?…"),
        ("https://me:secret@host/a.wav", "https://host/a.wav"),
        ("https://me:secret@host", "https://host"),
        ("s3://id:secret@calls/a.wav", "s3://calls/a.wav"),
        ("s3://calls/a@b?c.wav", "s3://calls/a@b?c.wav"),
        ("redis://:secret@host/0", "redis://host/0"),
    ],
)
def test_no_secret_is_shown(text: str, shown: str) -> None:
    assert show(text) == shown
    assert scrub(f"GET {text} failed, see {text}.") == f"GET {shown} failed, see {show(text + '.')}"


def test_an_address_in_a_message_or_a_log_line_has_no_secret() -> None:
    address = parse("https://host/x/a.wav?sig=secret#secret")
    assert f"{address}" == address.shown == "https://host/x/a.wav?…"
    assert "secret" not in repr(address)
    assert address.text.endswith("?sig=secret#secret"), "the text to store and open is unchanged"
    assert str(address.http_url) == "https://host/x/a.wav?sig=secret"


def test_a_name_that_is_not_utf8_can_be_shown() -> None:
    address = from_path("/in/\udcff.wav")
    assert (address.text, address.shown) == ("/in/\udcff.wav", "/in/\\udcff.wav")


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("/out", "/out/x/a.srt"),
        ("/out/", "/out/x/a.srt"),
        ("out", "out/x/a.srt"),
        ("s3://texts", "s3://texts/x/a.srt"),
        ("gs://texts/2026/", "gs://texts/2026/x/a.srt"),
    ],
)
def test_a_file_in_a_folder(folder: str, file: str) -> None:
    assert parse(folder).below("x/a.srt") == parse(file)


def test_only_web_addresses_have_a_host_and_a_port() -> None:
    found = [parse(text) for text in ("/a.wav", "s3://b/a.wav", "http://host/a", "https://host/a", "https://host:1/a")]
    assert [(one.host, one.port) for one in found] == [
        ("", None), ("", None), ("host", 80), ("host", 443), ("host", 1)
    ]  # fmt: skip


@given(
    scheme=st.sampled_from(["http", "https", "s3", "gs", "az", "redis", "ftp"]),
    path=st.text(st.characters(exclude_characters="s"), max_size=20),
)
def test_a_password_is_never_shown(scheme: str, path: str) -> None:
    assert "sesame" not in show(f"{scheme}://user:sesame@host/{path}")


def test_scrubbing_changes_only_urls() -> None:
    text = "HTTP 500 at https://u:secret@host/x?sig=secret, try <s3://a/b> or /a?b"
    assert scrub(text) == "HTTP 500 at https://host/x?…, try <s3://a/b> or /a?b"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/in/call.v2.wav", "call.v2"),
        ("s3://b/x/call.wav", "call"),
        ("https://h/x/%E7%B2%B5.mp3?sig=1", "粵"),
        ("https://h/", "transcript"),
        ("https://h/..", "transcript"),
    ],
)
def test_the_name_of_the_transcript(source: str, name: str) -> None:
    assert parse(source).stem == name


@pytest.mark.parametrize("part", ["a", "a://", "a+.", "-", "http://u:", "http://u:p@", "://"])
def test_scrubbing_a_long_text_is_fast(part: str) -> None:
    """An error text of a server, for example. A pattern with backtracking took minutes."""
    began = time.thread_time()
    scrub(part * (200_000 // len(part)))
    assert time.thread_time() - began < 2


def test_a_password_is_masked_whatever_precedes_the_address() -> None:
    for before in ("", "x", "-", "a" * 500, "9", "a.b+c-", "é"):
        assert "secret" not in scrub(f"{before}http://user:secret@host/x?sig=secret")
