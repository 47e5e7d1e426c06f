"""Lists one page of a bucket by a plain ListObjectsV2 request, for pages that obstore cannot read.

obstore refuses a whole page of up to 1,000 objects if one key in it is not a valid path for it (`d//x.wav`, `a/../b`).
The request is signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or not at all with AWS_SKIP_SIGNATURE.
Credentials from the role of a machine are not supported here.

Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import html
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote_plus, urlsplit

import aiohttp
from yarl import URL

from worker.errors import SourceUnavailable
from worker.secret_files import aws_secrets
from worker.storage.address import Address

TIMEOUT_S: Final = 30.0
MAX_PAGE_BYTES: Final = 8_000_000
_CONTENT: Final = re.compile(r"<Contents>.*?<Key>(.*?)</Key>.*?<Size>(\d+)</Size>.*?</Contents>", re.DOTALL)
_EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class S3Page:
    """One page of a listing: keys with their sizes in bytes, in the order of the store."""

    keys: tuple[tuple[str, int], ...]
    last: bool
    """Whether no further page follows."""


async def list_page(folder: Address, start_after: str, endpoint: str) -> S3Page | None:
    """Return the page of objects below `folder` that begins after the key `start_after`.

    Returns None if the environment has no credentials for a signature. Raises SourceUnavailable."""
    environ = {**os.environ, **{name.upper(): str(value) for name, value in aws_secrets(os.environ).items()}}
    prefix = f"{folder.key.rstrip('/')}/" if folder.key.strip("/") else ""
    query = {"encoding-type": "url", "list-type": "2", "max-keys": "1000", "prefix": prefix, "start-after": start_after}
    url = _bucket_url(folder.bucket, endpoint, environ)
    headers = _headers(url, query, environ, datetime.now(UTC))
    if headers is None:
        return None
    full = URL(f"{url}?{_canonical(query)}", encoded=True)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=True) as session,
            session.get(full, headers=headers) as response,
        ):
            body = bytearray()
            # `read(n)` would return only the bytes that have arrived, and the rest of the listing would be missing.
            async for part in response.content.iter_any():
                body += part
                if len(body) > MAX_PAGE_BYTES:
                    reason = f"a page of the listing has more than {MAX_PAGE_BYTES} bytes; check STT_S3_ENDPOINT"
                    raise SourceUnavailable(f"{folder.shown}: {reason}")
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise SourceUnavailable(f"{folder.shown}: the store does not answer: {exc or type(exc).__name__}") from None
    if response.status != 200:
        raise SourceUnavailable(f"{folder.shown}: the store answers a listing with HTTP {response.status}")
    return _page(body.decode("utf-8", "backslashreplace"))


def _page(body: str) -> S3Page:
    encoded = "<EncodingType>url</EncodingType>" in body
    found = [(html.unescape(key), int(size)) for key, size in _CONTENT.findall(body)]
    keys = tuple((unquote_plus(key) if encoded else key, size) for key, size in found)
    return S3Page(keys, "<IsTruncated>true</IsTruncated>" not in body)


def _bucket_url(bucket: str, endpoint: str, environ: Mapping[str, str]) -> str:
    base = endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    if base:
        return f"{base.rstrip('/')}/{bucket}"
    return f"https://s3.{_region(environ)}.amazonaws.com/{bucket}"


def _region(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _canonical(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))


def _headers(url: str, query: Mapping[str, str], environ: Mapping[str, str], now: datetime) -> dict[str, str] | None:
    """Return the headers of a signed GET request without a body. None without credentials."""
    if environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        return {}
    access, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return None
    parts, moment, day = urlsplit(url), f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY_HASH, "x-amz-date": moment}
    if token := environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join(["GET", quote(parts.path or "/"), _canonical(query), lines, names, _EMPTY_HASH])
    scope = f"{day}/{_region(environ)}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access}/{scope},SignedHeaders={names},Signature={signature}"
    )
    return headers


__all__ = ["S3Page", "list_page"]
