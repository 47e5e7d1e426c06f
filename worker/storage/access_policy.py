"""What a worker may read, write and call, by its settings STT_ALLOWED_SOURCES, _OUTPUTS and _WEBHOOKS (pure).

Who can queue a job names paths and addresses that the worker opens with its own rights: these lists say which. An entry
is a folder (`/audio`), an address with everything below it (`s3://bucket/calls`, `https://host/path`), a host with its
subdomains (`https://*.example.com`), or `*` for everything. Without a list all is allowed but web servers on private
addresses (this machine, the local network, the metadata service of a cloud); an entry that names a host allows it
whatever its address is.
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
    """Raises SourceRefused when a worker with these settings must not read `source`.

    Host names are allowed here; their addresses are checked after they are resolved (`worker.storage.guarded_http`).
    """
    entries = list(_entries(settings.allowed_sources))
    if entries and not any(_covers(entry, source) for entry in entries):
        raise SourceRefused(f"{source}: is not within STT_ALLOWED_SOURCES of this worker")
    if is_private_host(source.host) and not may_be_private(source, settings):
        raise SourceRefused(private_address_reason(source))


def allowed_folders(setting: str) -> tuple[str, ...]:
    """The local folders that a list allows; empty without a list. `*` is the root."""
    return tuple("/" if entry == "*" else entry for entry in _entries(setting) if not is_url(entry))


def check_output(folder: Address, settings: Settings) -> None:
    """Raises OutputError when a worker with these settings must not write to `folder`."""
    if folder.is_web:
        raise OutputError(f"{folder}: transcripts cannot be written there; give a folder, s3://, gs:// or az://")
    entries = list(_entries(settings.allowed_outputs))
    if entries and not any(_covers(entry, folder) for entry in entries):
        raise OutputError(f"{folder}: is not within STT_ALLOWED_OUTPUTS of this worker")


def check_webhook(url: Address, settings: Settings) -> None:
    """Raises BadJob when a worker with these settings must not send webhooks to `url`, or when it is no web address."""
    if not url.is_web:
        raise BadJob(f"{url}: webhooks go to https:// or http:// addresses")
    entries = list(_entries(settings.allowed_webhooks))
    if entries and not any(_covers(entry, url) for entry in entries):
        raise BadJob(f"{url}: is not within STT_ALLOWED_WEBHOOKS of this worker")
    if is_private_host(url.host) and not webhook_may_be_private(url, settings):
        raise BadJob(private_webhook_reason(url))


def webhook_may_be_private(url: Address, settings: Settings) -> bool:
    """Whether a webhook may go to `url` even where its host lies on a private address."""
    return _named(url, settings.allowed_webhooks)


def private_webhook_reason(url: Address) -> str:
    """The reason given for one."""
    return f"{url}: lies on a private address, where no webhooks go; name its host in STT_ALLOWED_WEBHOOKS"


def may_be_private(source: Address, settings: Settings) -> bool:
    """Whether the web address `source` is allowed even where its host lies on a private address."""
    return _named(source, settings.allowed_sources)


def private_address_reason(source: Address) -> str:
    """The reason given for one."""
    return f"{source}: lies on a private address, which this worker does not read; name its host in STT_ALLOWED_SOURCES"


def _named(address: Address, setting: str) -> bool:
    """Whether an entry names this host, and not only the domain it is in."""
    return any(_covers(entry, address) for entry in _entries(setting) if "://*" not in entry)


def _entries(setting: str) -> Iterator[str]:
    return (entry.strip() for entry in setting.split(",") if entry.strip())


def _covers(entry: str, address: Address) -> bool:
    if entry == "*":
        return True
    if address.is_file:
        return not is_url(entry) and _below(os.path.normpath(entry), os.path.normpath(address.text))
    if not is_url(entry):
        return False
    scheme, _, rest = entry.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme.lower() != address.scheme:
        return False
    if not address.is_web:
        return bucket == address.bucket and _below(prefix, address.key)
    path = unquote(address.key)
    climbs = bool(prefix) and ".." in path.replace("\\", "/").split("/")
    return _names(scheme, bucket, address) and not climbs and _below(unquote(prefix), path)


def _names(scheme: str, host: str, address: Address) -> bool:
    """Whether `host[:port]` of an entry, or `*.host`, is the host of a web address."""
    try:
        named = request_url(f"{scheme}://{host.removeprefix('*.')}")
    except ValueError:
        return False  # an entry of this form names no host
    same = address.host.endswith(f".{named.raw_host}") if host.startswith("*.") else address.host == named.raw_host
    return same and address.port == named.port


def _below(folder: str, place: str) -> bool:
    folder = folder.rstrip("/")
    return not folder or place == folder or place.startswith(f"{folder}/")
