"""Reads, writes and lists objects in S3, Google Cloud Storage and Azure. The only module that imports obstore.

Credentials come from the environment variables that the stores' own tools read (AWS_ACCESS_KEY_ID and so on, see
`_CREDENTIAL_HINTS`), or from the role that the cloud gives to this machine. obstore retries temporary failures itself,
with growing pauses and jitter. A write is one PUT request, so an object is written completely or not at all, and the
same write can be repeated.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from worker.errors import (
    OutputError,
    OutputUnavailable,
    SourceNotFound,
    SourceRefused,
    SourceReplaced,
    SourceUnavailable,
    SttError,
)
from worker.secret_files import aws_secrets
from worker.storage import s3_listing
from worker.storage.address import Address, scrub, unreadable_key
from worker.storage.remote_file import CHUNK_BYTES, ContentVersion, RemoteBody

_CLIENT: Final[Any] = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(days=1),  # for a whole download; shorter limits are set by the callers
    "allow_http": True,  # only an STT_S3_ENDPOINT can be http://; the stores' own endpoints are https://
}
_RETRY: Final[Any] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 3},
}
_METADATA_HOSTS: Final = ("169.254.169.254", "metadata.google.internal")
"""Hosts of the clouds' metadata services, which obstore asks for credentials if the environment has none.

A machine without a role has no such service. So an error text that contains one of these hosts means that credentials
are missing."""
_CREDENTIAL_HINTS: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_SKIP_SIGNATURE=true for a public bucket)",
    "gs": "set GOOGLE_SERVICE_ACCOUNT to a key file (or GOOGLE_SKIP_SIGNATURE=true for a public bucket)",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_REFUSALS: Final = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed")
"""Error codes of S3 for refused credentials, which are added to the message."""
_EXPIRED: Final = "<Code>ExpiredToken</Code>"
"""Part of the answer of S3 if temporary credentials have expired. The bare code could be part of a key.
AWS sends it with status 400, other stores with 403."""
PART_BYTES: Final = 5 * 1024 * 1024
"""Size of the parts of an object that is written in parts: the minimum of S3."""
_STATUS: Final = re.compile(r"status code: (\d{3})")
_MAX_REASON_CHARACTERS: Final = 300
_INVALID_KEY: Final = re.compile(r"(?:invalid path|[Pp]arsing [Pp]ath)[^\"]*\"(?P<key>[^\"]+)\"")
"""Matches obstore's error for a listed key that it cannot represent."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object that `listing` found."""

    address: Address
    size_bytes: int
    problem: str = ""
    """Why the object cannot be read; empty for a readable one."""
    version: ContentVersion | None = None
    """None if the listing does not contain it."""


@asynccontextmanager
async def read(address: Address, offset: int, known: ContentVersion | None, endpoint: str) -> AsyncIterator[RemoteBody]:
    """Open an object for reading from the byte `offset` on.

    `known`: the version that was read before, or None. `endpoint`: the value of STT_S3_ENDPOINT. Raises SourceReplaced
    if the object does not have the ETag of `known`, SourceNotFound, SourceRefused and SourceUnavailable. Iterating over
    the body's chunks raises the same errors.
    """
    options: dict[str, Any] = {"range": {"offset": offset}} if offset else {}
    if known is not None and known.etag is not None:
        # The store itself then refuses a replaced object, before it sends a byte of it.
        options["if_match"] = known.etag
    with _source_errors(address):
        result = await obstore.get_async(_store(address, endpoint), address.key, options=options)  # type: ignore[arg-type]
        meta = result.meta
    version = ContentVersion(meta["size"], meta["e_tag"], meta["last_modified"].isoformat())

    async def chunks() -> AsyncIterator[bytes]:
        with _source_errors(address):
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    yield RemoteBody(version, result.range[0], chunks())


async def put(address: Address, data: bytes, content_type: str, endpoint: str) -> None:
    """Write or replace one object, completely or not at all. Raises OutputError, or OutputUnavailable for temporary
    failures."""
    store, attributes = _store(address, endpoint, OutputError), {"Content-Type": content_type}
    with _output_errors(address):
        await obstore.put_async(store, address.key, data, attributes=attributes, use_multipart=False)


async def put_stream(address: Address, chunks: AsyncIterator[bytes], endpoint: str) -> None:
    """Write one object of any length from chunks, in parts of PART_BYTES. Raises OutputError, OutputUnavailable and the
    errors of `chunks`; the object then does not exist."""
    store = _store(address, endpoint, OutputError)
    failed: list[Exception] = []

    async def watched() -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as exc:  # not GeneratorExit, which only says that obstore reads no more chunks
            failed.append(exc)
            raise

    try:
        with _output_errors(address):
            await obstore.put_async(store, address.key, watched(), chunk_size=PART_BYTES, max_concurrency=1)
    except Exception:
        if failed:  # obstore replaces the errors of the chunks by its own
            raise failed[0] from None
        raise


async def delete(address: Address, endpoint: str) -> None:
    """Remove one object, if it exists. Raises OutputError."""
    try:
        await obstore.delete_async(_store(address, endpoint, OutputError), address.key)
    except FileNotFoundError:
        return
    except (BaseError, ValueError) as exc:
        raise OutputError(f"cannot delete {address.shown}: {_reason(exc)}") from None


async def listing(folder: Address, endpoint: str) -> AsyncIterator[ListedObject]:
    """Yield every object below a folder, in the order of the store. Empty objects that represent folders are omitted.

    An object whose key obstore cannot open has a `problem`; it does not end the listing. Raises SourceNotFound,
    SourceRefused and SourceUnavailable."""
    last: str | None = None
    while True:
        try:
            # The prefix is compared by whole parts of the key: `calls` lists `calls/a.wav`, not `calls2/a.wav`.
            pages = obstore.list(_store(folder, endpoint), folder.key.rstrip("/") or None, offset=last, chunk_size=1000)
            with _source_errors(folder):
                async for page in pages:
                    for meta in page:
                        last = meta["path"]
                        if not (meta["size"] == 0 and meta["path"].endswith("/")):
                            version = ContentVersion(meta["size"], meta["e_tag"], meta["last_modified"].isoformat())
                            yield ListedObject(folder.at(meta["path"]), meta["size"], version=version)
                return
        except SourceUnavailable as exc:
            if _INVALID_KEY.search(str(exc)) is None:
                raise
            refused, before = exc, last
        last = None
        async for found, after in _page_with_invalid_key(folder, before, endpoint, refused):
            last = after
            yield found
        if last is None:
            return


async def _page_with_invalid_key(
    folder: Address, last: str | None, endpoint: str, refused: SourceUnavailable
) -> AsyncIterator[tuple[ListedObject, str | None]]:
    """Yield the objects of a page that obstore refuses, each with the key after which the listing continues (None: the
    listing ends with this page)."""
    found = await s3_listing.list_page(folder, last or "", endpoint) if folder.scheme == "s3" else None
    if found is None:
        named = _INVALID_KEY.search(str(refused))
        key = named["key"] if named is not None else ""
        if not key or (last is not None and key <= last):
            raise refused
        lost = "its key is not valid; up to 1,000 objects before and after it could not be listed"
        yield ListedObject(folder.at(key), 0, lost), key
        return
    after = None if found.last or not found.keys else found.keys[-1][0]
    for key, size in found.keys:
        problem = (
            "its key contains empty parts, `.` or `..`, or control characters: rename it" if unreadable_key(key) else ""
        )
        if problem or not key.endswith("/"):
            yield ListedObject(folder.at(key), size, problem), after


# Cached, because each client has its own pool of connections.
@lru_cache(maxsize=64)
def _store_of(scheme: str, bucket: str, endpoint: str) -> Any:
    """Create obstore's client for a bucket. Raises BaseError or ValueError for invalid environment variables."""
    options: dict[str, Any] = {"client_options": _CLIENT, "retry_config": _RETRY}
    if scheme == "gs":
        return GCSStore(bucket, **options)
    if scheme == "az":
        return AzureStore(bucket, **options)
    if endpoint:
        options["endpoint"] = endpoint
    options |= aws_secrets(os.environ)
    return S3Store(bucket, **options)


def _store(address: Address, endpoint: str, error: type[SttError] = SourceRefused) -> Any:
    """Return obstore's client for the bucket of `address`. Raises `error` if it cannot be created."""
    try:
        return _store_of(address.scheme, address.bucket, endpoint)
    except (BaseError, ValueError) as exc:
        raise error(f"{address.shown}: {_reason(exc)}; {_CREDENTIAL_HINTS[address.scheme]}") from None


@contextmanager
def _source_errors(address: Address) -> Iterator[None]:
    """Translate errors of obstore in the block to errors of sources."""
    try:
        yield
    except FileNotFoundError:
        # `from None`, here and below: the text of obstore's error may contain a URL with a secret, and a traceback in
        # the log shows the causes of an error.
        raise SourceNotFound(f"{address.shown}: there is no such object") from None
    except (PermissionDeniedError, UnauthenticatedError) as exc:
        if _EXPIRED in str(exc):
            raise SourceUnavailable(f"{address.shown}: {_expired()}") from None
        raise SourceRefused(f"{address.shown}: {_refusal(address, exc)}") from None
    except PreconditionError:
        raise SourceReplaced(f"{address.shown}: was replaced while it was read") from None
    except (BaseError, ValueError) as exc:
        # obstore reports missing credentials as a failed request to the metadata service. That looks temporary, but a
        # retry cannot help.
        if _without_credentials(exc):
            raise SourceRefused(f"{address.shown}: {_no_credentials(address)}") from None
        if _EXPIRED in str(exc):
            raise SourceUnavailable(f"{address.shown}: {_expired()}") from None
        # For listings obstore raises only a general error, so the HTTP status is read from its text.
        status = _STATUS.search(str(exc))
        if status is not None and status[1] in ("401", "403"):
            raise SourceRefused(f"{address.shown}: {_refusal(address, exc)}") from None
        if status is not None and status[1] == "404":
            what = "container" if address.scheme == "az" else "bucket"
            raise SourceNotFound(f"{address.shown}: there is no such {what}") from None
        raise SourceUnavailable(f"{address.shown}: {_reason(exc)}") from None


@contextmanager
def _output_errors(address: Address) -> Iterator[None]:
    """Translate errors of obstore in the block to errors of outputs."""
    try:
        yield
    except FileNotFoundError:
        raise OutputError(
            f"cannot write {address.shown}: there is no such bucket; create it, or choose another"
        ) from None
    except (PermissionDeniedError, UnauthenticatedError) as exc:
        if _EXPIRED in str(exc):
            raise OutputUnavailable(f"cannot write {address.shown}: {_expired()}") from None
        raise OutputError(f"cannot write {address.shown}: {_refusal(address, exc)}") from None
    except (BaseError, ValueError) as exc:
        if _without_credentials(exc):
            raise OutputError(f"cannot write {address.shown}: {_no_credentials(address)}") from None
        if _EXPIRED in str(exc):
            raise OutputUnavailable(f"cannot write {address.shown}: {_expired()}") from None
        raise OutputUnavailable(f"cannot write {address.shown}: {_reason(exc)}") from None


def _without_credentials(exc: Exception) -> bool:
    return any(host in str(exc) for host in _METADATA_HOSTS)


def _no_credentials(address: Address) -> str:
    return f"this worker has no credentials for it; {_CREDENTIAL_HINTS[address.scheme]}"


def _expired() -> str:
    # Temporary: a job must not fail for good because the operator renews the credentials a minute later.
    return (
        "the credentials of this worker have expired (ExpiredToken); set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
        "AWS_SESSION_TOKEN to new ones and restart the worker"
    )


def _refusal(address: Address, exc: Exception) -> str:
    code = next((f" ({word})" for word in _REFUSALS if word in str(exc)), "")
    return f"the store refuses the credentials of this worker{code}; {_CREDENTIAL_HINTS[address.scheme]}"


def _reason(exc: Exception) -> str:
    """Return obstore's error text on one line, without its debug information and without secrets in URLs."""
    return scrub(" ".join(str(exc).partition("\n\nDebug source")[0].split()))[:_MAX_REASON_CHARACTERS]
