"""Findings of `stt-batch doctor` about proxies and certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.doctor.finding import Status
from tasks.doctor.network import of_network
from worker.settings import load

PROXY = {"HTTPS_PROXY": "http://ann:s3cret@proxy.example:3128"}
SERVICE = {"STT_URL": "https://ann:s3cret@host.example/speech"}
LISTS = {"STT_ALLOWED_SOURCES": "https://files.example", "STT_ALLOWED_WEBHOOKS": "https://hooks.example"}


@pytest.fixture(autouse=True)
def system_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.mark.parametrize(
    ("environ", "texts"),
    [
        ({}, ["https://host.example/speech: direct (no HTTPS_PROXY or ALL_PROXY is set)"]),
        (PROXY | LISTS, ["through the proxy http://proxy.example:3128 (HTTPS_PROXY, with a login)"]),
        (PROXY | LISTS | {"NO_PROXY": ".example"}, ["direct (.example in NO_PROXY)"]),
        (PROXY | {"STT_PROXY": ""}, ["https://host.example/speech: direct (STT_PROXY is none)"]),
        (PROXY | LISTS | {"STT_PROXY": "socks5h://other"}, ["through the proxy socks5h://other:1080 (STT_PROXY)"]),
        (
            {"STT_URL": "http://127.0.0.1:8808", "ALL_PROXY": "http://p"} | LISTS,
            ["http://127.0.0.1:8808: direct (this"],
        ),
        (PROXY | LISTS, ["downloads and webhooks: https:// through", "http:// direct (no HTTP_PROXY"]),
        ({}, ["trusted certificate authorities: those of the system"]),
    ],
)
def test_the_way_is_shown(environ: dict[str, str], texts: list[str]) -> None:
    found = of_network(load(SERVICE | environ), environ)
    assert {one.status for one in found} == {Status.OK}
    said = "\n".join(one.text for one in found)
    assert all(text in said for text in texts), said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("environ", "status", "says"),
    [
        ({"HTTPS_PROXY": "socks4://ann:s3cret@proxy"}, Status.FAIL, "HTTPS_PROXY: the proxy scheme socks4://"),
        (PROXY, Status.WARN, "without STT_ALLOWED_SOURCES and STT_ALLOWED_WEBHOOKS"),
        (LISTS | {"STT_PROXY": "http://proxy"}, Status.WARN, "object stores and traces do not use STT_PROXY"),
        ({"STT_CA_FILE": "/missing.pem"}, Status.FAIL, "STT_CA_FILE: /missing.pem: No such file"),
    ],
)
def test_faults_are_found(environ: dict[str, str], status: Status, says: str) -> None:
    found = of_network(load(SERVICE | environ), environ)
    assert [one for one in found if one.status is status and says in one.text and one.remedy]
    assert not [one for one in found if "s3cret" in one.text]


def test_files_with_certificates_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trustme

    authority = trustme.CA()
    bundle, certificate = tmp_path / "ca.pem", tmp_path / "client.pem"
    authority.cert_pem.write_to_path(bundle)
    authority.issue_cert("client@example.com").private_key_and_cert_chain_pem.write_to_path(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    settings = load({"STT_CA_FILE": str(bundle), "STT_CLIENT_CERT_FILE": str(certificate)})
    (found,) = [one for one in of_network(settings, {}) if "authorities" in one.text]
    assert found.status is Status.OK
    assert f"SSL_CERT_FILE={bundle}, and those of STT_CA_FILE={bundle}" in found.text
    assert f"client certificate for the service: {certificate}" in found.text
