"""Reads sources from web servers with HTTP(S), from any byte on. Every redirect is checked, and private addresses are
refused unless the settings allow them.

This module uses aiohttp and not obstore, because aiohttp accepts responses without a length, and its connections can be
checked (see `worker.storage.guarded_http`).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin

import aiohttp

from worker.errors import (
    BadJob,
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceReplaced,
    SourceUnavailable,
)
from worker.network.failure_reasons import certificate_problem, named_cause, proxy_refusal
from worker.network.http_session import TunnelFailed
from worker.network.proxy_choice import ProxyUnusable, Route
from worker.settings import Settings
from worker.storage.access_policy import check_source, may_be_private, private_address_reason
from worker.storage.address import Address, parse, scrub
from worker.storage.guarded_http import GuardedSession, PrivateHost, guarded_session, route_to
from worker.storage.remote_file import CHUNK_BYTES, ContentVersion, RemoteBody

MAX_REDIRECTS: Final = 5
# No limit for the whole request, because a download may take hours; STT_DOWNLOAD_TIMEOUT_S limits it.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=15, sock_connect=10, sock_read=30)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_TEMPORARY: Final = (408, 425, 429)
"""HTTP statuses of temporary failures, in addition to 5xx."""
# At most 18 digits: Python's int() refuses more than 4,300, and no file is that large.
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


@asynccontextmanager
async def read(
    address: Address, offset: int, known: ContentVersion | None, settings: Settings
) -> AsyncIterator[RemoteBody]:
    """Open a web address for reading from the byte `offset` on.

    `known`: the version that was read before, or None. In some cases the body starts at the first byte and not at
    `offset`: if `known` is None or has neither an ETag nor a time, if the server's version differs from `known`, or if
    the server does not support offsets. Raises SourceNotFound, SourceRefused, SourceUnavailable, SourceError. Iterating
    over the body's chunks raises SourceUnavailable.
    """
    # A compressed body would have other byte positions and another length.
    headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
    validator = known and (known.etag or known.modified)
    if offset and validator:
        # With If-Range, a server whose content has changed sends the whole new content instead of a part that does not
        # fit.
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    async with guarded_session(_TIMEOUT, settings) as session:
        response = await _follow(session, address, headers, settings)
        async with response:
            version, start = _about(response, address)

            async def chunks() -> AsyncIterator[bytes]:
                try:
                    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                        yield chunk
                except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                    raise SourceUnavailable(f"{address.shown}: the connection broke: {_reason(exc)}") from None

            yield RemoteBody(version, start, chunks())


async def _follow(
    session: GuardedSession,
    address: Address,
    headers: dict[str, str],
    settings: Settings,
) -> aiohttp.ClientResponse:
    """Follow all redirects and return the last response. Each target is checked like the first address."""
    at = address
    for _ in range(MAX_REDIRECTS + 1):
        check_source(at, settings)
        route = _route(at, settings)
        response = await _get(session, address, at, route, headers, may_be_private=may_be_private(at, settings))
        if response.status not in _REDIRECTS:
            return response
        response.release()
        target = _target(address, at, response.headers.get("Location", ""))
        # The audio, and perhaps a signature in the address, would be sent unencrypted.
        if at.scheme == "https" and target.scheme == "http":
            raise SourceError(f"{address.shown}: redirects from https to http ({target.shown}), which is refused")
        at = target
    raise SourceError(f"{address.shown}: has more than {MAX_REDIRECTS} redirects")


def _route(address: Address, settings: Settings) -> Route:
    """Return the route to an address. Raises SourceUnavailable if the address of the proxy is not valid. Raises
    SourceRefused if a proxy is needed but the settings have no allow-list; see `worker.storage.guarded_http`."""
    try:
        route = route_to(address, settings)
    except ProxyUnusable as exc:
        raise SourceUnavailable(f"{address.shown}: cannot be reached: {exc}") from None
    if route.proxy is not None and not settings.allowed_sources.strip():
        raise SourceRefused(
            f"{address.shown}: is read through a proxy ({route.variable}), where only its name can be"
            " checked; name the hosts that may be read in STT_ALLOWED_SOURCES, or this one in NO_PROXY"
        )
    return route


def _target(address: Address, base: Address, location: str) -> Address:
    """Parse the Location header of a redirect from `base`. `address`: the first address, for the errors. Raises
    SourceError if the target is not a web address."""
    try:
        target = parse(urljoin(base.text, location)) if location else None
    except BadJob as exc:
        raise SourceError(f"{address.shown}: redirects to a target that is not a web address ({exc})") from None
    except ValueError:
        target = None
    if target is None or not target.is_web:
        raise SourceError(f"{address.shown}: redirects to a target that is not a web address")
    return target


async def _get(
    session: GuardedSession,
    address: Address,
    at: Address,
    route: Route,
    headers: dict[str, str],
    *,
    may_be_private: bool,
) -> aiohttp.ClientResponse:
    """Request `at`, which is `address` or the target of a redirect from it, and return the response.

    Errors name only `address`, because the target of a redirect may contain a signature."""
    try:
        response = await session.request("GET", at, route, may_be_private=may_be_private, headers=headers)
    except PrivateHost:
        raise SourceRefused(private_address_reason(address)) from None
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError, TunnelFailed) as exc:
        cause = certificate_problem(exc)
        if cause is not None:
            raise SourceError(f"{address.shown}: {cause}") from None
        raise SourceUnavailable(f"{address.shown}: cannot be reached: {_cause(exc, route, at)}") from None
    except ValueError as exc:  # includes aiohttp.InvalidURL, and names that IDNA cannot encode
        raise SourceError(f"{address.shown}: is not a valid address: {_reason(exc)}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise SourceUnavailable(f"{address.shown}: cannot be reached: {_cause(exc, route, at)}") from None
    if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        response.close()
        refusal = proxy_refusal(response.status, "", route, at.host)
        raise SourceUnavailable(f"{address.shown}: cannot be reached: {refusal}")
    return response


def _cause(exc: BaseException, route: Route, at: Address) -> str:
    return named_cause(exc, route, at.host) or _reason(exc)


def _about(response: aiohttp.ClientResponse, address: Address) -> tuple[ContentVersion, int]:
    """Return the version of the content, and the position in the content of the body's first byte.

    Raises SourceError, or a subclass of it, if the response does not contain the content."""
    status, headers = response.status, response.headers
    etag = headers.get("ETag")
    if etag is not None and etag.startswith("W/"):  # ignored: contents with the same weak ETag may differ in some bytes
        etag = None
    modified = headers.get("Last-Modified")
    if headers.get("Content-Encoding", "identity") not in ("identity", ""):
        encoding = headers["Content-Encoding"]
        raise SourceError(f"{address.shown}: is sent compressed ({encoding}), which is not supported")
    if status == HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if match is None:
            raise SourceUnavailable(f"{address.shown}: sends HTTP 206 without a valid Content-Range")
        return ContentVersion(None if match[2] == "*" else int(match[2]), etag, modified), int(match[1])
    if status == HTTPStatus.OK:
        return ContentVersion(response.content_length, etag, modified), 0
    raise _refusal(status, response.reason or "", address)


def _refusal(status: int, reason: str, address: Address) -> SourceError:
    """Return the error for an HTTP status with which a server sends no content."""
    status_text = f"HTTP {status}{f' {reason}' if reason else ''}"
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return SourceNotFound(f"{address.shown}: does not exist ({status_text})")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return SourceRefused(f"{address.shown}: access is refused ({status_text}); a signed address may have expired")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        reason = "ends before the length that its server names, or was replaced while it was read"
        return SourceReplaced(f"{address.shown}: {reason} ({status_text})")
    # The download continues after these failures.
    if status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return SourceUnavailable(f"{address.shown}: its server fails ({status_text})")
    return SourceError(f"{address.shown}: its server sends no content ({status_text})")


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, aiohttp.ClientConnectorError):
        return scrub(str(exc.os_error.strerror or exc.os_error))
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "TLS"
    return scrub(" ".join(str(exc).split()))[:200] or type(exc).__name__
