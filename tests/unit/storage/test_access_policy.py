"""The allow-lists for sources and outputs."""

from __future__ import annotations

import pytest

from worker.errors import BadJob, OutputError, SourceRefused
from worker.settings import load
from worker.storage.access_policy import check_output, check_source, may_be_private
from worker.storage.address import parse
from worker.storage.web_hosts import is_private

LISTED = "/audio, s3://calls/2026, gs://voices, https://files.example.com/public, https://*.cdn.example.com, http://10.0.0.5:9000"


@pytest.mark.parametrize(
    ("sources", "source", "allowed"),
    [
        ("", "/any/file.wav", True),
        ("", "s3://any/file.wav", True),
        ("", "https://example.com/a.wav", True),
        ("", "https://93.184.216.34/a.wav", True),
        ("", "http://127.0.0.1/a.wav", False),
        ("", "http://localhost:8080/a.wav", False),
        ("", "http://169.254.169.254/latest/meta-data", False),
        ("", "http://10.1.2.3/a.wav", False),
        ("", "http://[::1]/a.wav", False),
        ("", "http://[::ffff:127.0.0.1]/a.wav", False),
        ("", "http://[64:ff9b::a00:1]/a.wav", False),
        ("", "http://0.0.0.0/a.wav", False),
        ("*", "http://127.0.0.1/a.wav", True),
        ("*", "/etc/passwd", True),
        (LISTED, "/audio/a.wav", True),
        (LISTED, "/audio", True),
        (LISTED, "/audio/../etc/passwd", False),
        (LISTED, "/audiobooks/a.wav", False),
        (LISTED, "audio/a.wav", False),
        (LISTED, "s3://calls/2026/a.wav", True),
        (LISTED, "s3://calls/2026x/a.wav", False),
        (LISTED, "s3://calls/a.wav", False),
        (LISTED, "s3://other/2026/a.wav", False),
        (LISTED, "gs://voices/any/a.wav", True),
        (LISTED, "s3://voices/any/a.wav", False),
        (LISTED, "https://files.example.com/public/a.wav?sig=1", True),
        (LISTED, "https://FILES.example.com:443/public/a.wav", True),
        (LISTED, "https://files.example.com./public/a.wav", True),
        (LISTED, "https://files.example.com/private/a.wav", False),
        (LISTED, "https://files.example.com/public/../private/a.wav", False),
        (LISTED, "https://files.example.com/public/%2e%2e/private/a.wav", False),
        (LISTED, "https://files.example.com/publicity/a.wav", False),
        (LISTED, "http://files.example.com/public/a.wav", False),
        (LISTED, "https://files.example.com:8443/public/a.wav", False),
        (LISTED, "https://eu.cdn.example.com/a.wav", True),
        (LISTED, "https://cdn.example.com.evil.org/a.wav", False),
        (LISTED, "https://evilcdn.example.com/a.wav", False),
        (LISTED, "http://10.0.0.5:9000/a.wav", True),
        (LISTED, "http://10.0.0.5/a.wav", False),
        (LISTED, "http://10.0.0.6:9000/a.wav", False),
    ],
)
def test_sources(sources: str, source: str, allowed: bool) -> None:
    settings = load({"STT_ALLOWED_SOURCES": sources})
    if allowed:
        check_source(parse(source), settings)
    else:
        with pytest.raises(SourceRefused, match="STT_ALLOWED_SOURCES"):
            check_source(parse(source), settings)


@pytest.mark.parametrize(
    ("sources", "source", "private"),
    [
        ("", "https://files.internal/a.wav", False),
        ("*", "https://files.internal/a.wav", True),
        ("https://files.internal", "https://files.internal/a.wav", True),
        ("https://*.internal", "https://files.internal/a.wav", False),
        ("https://*.internal,*", "https://files.internal/a.wav", True),
        ("https://other.internal", "https://files.internal/a.wav", False),
    ],
)
def test_a_named_host_may_be_private(sources: str, source: str, private: bool) -> None:
    assert may_be_private(parse(source), load({"STT_ALLOWED_SOURCES": sources})) is private


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("100.64.0.1", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("2002:7f00:1::", True),
        ("example.com", False),
    ],
)
def test_private_addresses(host: str, private: bool) -> None:
    assert is_private(host) is private


@pytest.mark.parametrize(
    ("outputs", "folder", "reason"),
    [
        ("", "/anywhere", None),
        ("", "s3://any/where", None),
        ("", "https://host/put", "transcripts cannot be written there"),
        ("", "ftp://host/put", "is not supported"),
        ("/results,s3://out/texts", "/results/a", None),
        ("/results,s3://out/texts", "/results/../etc", "STT_ALLOWED_OUTPUTS"),
        ("/results,s3://out/texts", "s3://out/texts", None),
        ("/results,s3://out/texts", "s3://out", "STT_ALLOWED_OUTPUTS"),
    ],
)
def test_outputs(outputs: str, folder: str, reason: str | None) -> None:
    settings = load({"STT_ALLOWED_OUTPUTS": outputs})
    if reason is None:
        check_output(parse(folder), settings)
    else:
        with pytest.raises((OutputError, BadJob), match=reason):
            check_output(parse(folder), settings)
