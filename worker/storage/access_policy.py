"""Checks sources, outputs and webhooks against the allow-lists of the settings. No I/O.

Producers of jobs choose paths and addresses that the worker opens with its own rights. The settings
STT_ALLOWED_SOURCES, STT_ALLOWED_OUTPUTS and STT_ALLOWED_WEBHOOKS restrict them; each is a list of entries separated by
commas. An entry is a folder (`/audio`), an address with everything below it (`s3://bucket/calls`, `https://host/path`),
the subdomains of a host (`https://*.example.com`), or `*` for everything. An empty list allows everything except web
servers on private addresses (this machine, the local network, the metadata service of a cloud). Only `*` and entries
that name the host itself allow a web server on a private address.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import unquote

from worker.errors import BadJob, OutputError, SourceRefused
from worker.settings import Settings
from worker.storage.address import Address, is_url
from worker.storage.web_hosts import is_private_host, request_url


def check_source(source: Address, settings: Settings) -> None:
    """Check that the settings allow reading `source`. Raises SourceRefused if they do not.

    The IP addresses of a host name are checked later, after the name is resolved (`worker.storage.guarded_http`).
    """
    entries = list(_entries(settings.allowed_sources))
    if entries and not any(_covers(entry, source) for entry in entries):
        raise SourceRefused(f"{source}: is not within STT_ALLOWED_SOURCES of this worker")
    # This also applies if the allow-list covers the address, because `*.example.com` may cover a host with a private
    # address.
    if is_private_host(source.host) and not may_be_private(source, settings):
        raise SourceRefused(private_address_reason(source))


def allowed_folders(setting: str) -> tuple[str, ...]:
    """Return the local folders in the allow-list `setting`. An entry `*` allows every folder and becomes `/`."""
    return tuple("/" if entry == "*" else entry for entry in _entries(setting) if not is_url(entry))


def check_output(folder: Address, settings: Settings) -> None:
    """Check that transcripts may be written to `folder`. Raises OutputError if they may not. Web addresses are always
    refused."""
    if folder.is_web:
        raise OutputError(f"{folder}: transcripts cannot be written there; give a folder, s3://, gs:// or az://")
    entries = list(_entries(settings.allowed_outputs))
    if entries and not any(_covers(entry, folder) for entry in entries):
        raise OutputError(f"{folder}: is not within STT_ALLOWED_OUTPUTS of this worker")


def check_webhook(url: Address, settings: Settings) -> None:
    """Check that webhooks may be sent to `url`. Raises BadJob if they may not, or if `url` is not a web address."""
    if not url.is_web:
        raise BadJob(f"{url}: webhooks go to https:// or http:// addresses")
    entries = list(_entries(settings.allowed_webhooks))
    if entries and not any(_covers(entry, url) for entry in entries):
        raise BadJob(f"{url}: is not within STT_ALLOWED_WEBHOOKS of this worker")
    if is_private_host(url.host) and not webhook_may_be_private(url, settings):
        raise BadJob(private_webhook_reason(url))


def webhook_may_be_private(url: Address, settings: Settings) -> bool:
    """Whether a webhook may be sent to `url` even if the host has a private IP address."""
    return _named(url, settings.allowed_webhooks)


def private_webhook_reason(url: Address) -> str:
    """Return the error text for a webhook to a private address."""
    return f"{url}: has a private address, to which no webhooks are sent; name its host in STT_ALLOWED_WEBHOOKS"


def may_be_private(source: Address, settings: Settings) -> bool:
    """Whether the web address `source` may be read even if the host has a private IP address."""
    return _named(source, settings.allowed_sources)


def private_address_reason(source: Address) -> str:
    """Return the error text for a source on a private address."""
    return f"{source}: has a private address, which this worker does not read; name its host in STT_ALLOWED_SOURCES"


def _named(address: Address, setting: str) -> bool:
    """Whether an entry of the allow-list `setting` covers the address. Entries for subdomains (`https://*.…`) are
    ignored."""
    # An entry for subdomains names no single host: a DNS record can point any of them to a private address.
    return any(_covers(entry, address) for entry in _entries(setting) if "://*" not in entry)


def _entries(setting: str) -> Iterator[str]:
    return (entry.strip() for entry in setting.split(",") if entry.strip())


def _covers(entry: str, address: Address) -> bool:
    """Whether the entry of an allow-list covers the address."""
    if entry == "*":
        return True
    # Without normalization, `/audio/../etc` would be accepted as a path below `/audio`. Links in the path are checked
    # when the file is opened (`open_beneath`).
    if address.is_file:
        return not is_url(entry) and _below(os.path.normpath(entry), os.path.normpath(address.text))
    if not is_url(entry):
        return False
    scheme, _, rest = entry.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme.lower() != address.scheme:
        return False
    if not address.is_web:
        # A key is compared literally: object stores do not resolve `..`, and `address.parse` refuses such keys.
        return bucket == address.bucket and _below(prefix, address.key)
    # A server may decode the path and then resolve `..`, so a path with `..` may lead out of the folder of the entry.
    path = unquote(address.key)
    climbs = bool(prefix) and ".." in path.replace("\\", "/").split("/")
    return _names(scheme, bucket, address) and not climbs and _below(unquote(prefix), path)


def _names(scheme: str, host: str, address: Address) -> bool:
    """Whether `host` of an entry (`host`, `host:port` or `*.host`) matches the host and port of a web address."""
    try:
        named = request_url(f"{scheme}://{host.removeprefix('*.')}")
    except ValueError:
        return False  # the entry is not a valid host
    # The dot before the domain matters: `https://*.example.com` must not match `badexample.com`.
    same = address.host.endswith(f".{named.raw_host}") if host.startswith("*.") else address.host == named.raw_host
    return same and address.port == named.port


def _below(folder: str, place: str) -> bool:
    """Whether the path or key `place` is `folder` itself or below it. True for an empty `folder`."""
    folder = folder.rstrip("/")
    return not folder or place == folder or place.startswith(f"{folder}/")
