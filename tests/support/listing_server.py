"""A store with the S3 API that lists any keys, also those that file systems and SeaweedFS cannot have."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.support.ports import free_port

PAGE = 1000
BUCKET = "any"


class StoreHandler(BaseHTTPRequestHandler):
    """Answers requests as a store does."""

    def answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("ETag", '"1"'),
            ("Last-Modified", "Sun, 29 Nov 2026 10:00:00 GMT"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def serving(handler: type[StoreHandler]) -> Iterator[str]:
    """Run a store on a free port. Yields its endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def listing_server(keys: Sequence[str], *, encoding: bool = True) -> Iterator[str]:
    """Run a server with one bucket, BUCKET. `keys`: sorted; each object contains `RIFF`. `encoding`: whether it knows
    the parameter `encoding-type`. Yields its endpoint."""

    class Handler(StoreHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            key = unquote(parts.path.removeprefix(f"/{BUCKET}").lstrip("/"))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if "list-type" in query:
                self.answer(200, _listing(keys, query, encoding=encoding), "application/xml")
            elif key in keys:
                self.answer(200, b"RIFF", "audio/wav")
            else:
                self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")

    with serving(Handler) as endpoint:
        yield endpoint


def _listing(keys: Sequence[str], query: dict[str, str], *, encoding: bool) -> bytes:
    prefix, after = query.get("prefix", ""), query.get("continuation-token") or query.get("start-after", "")
    url = encoding and query.get("encoding-type") == "url"
    start = bisect_right(keys, after) if after else 0
    page = [key for key in keys[start : start + PAGE] if key.startswith(prefix)]
    more = start + PAGE < len(keys)
    contents = "".join(
        f"<Contents><Key>{quote(key) if url else key}</Key><LastModified>2026-11-29T10:00:00.000Z</LastModified>"
        "<ETag>&quot;1&quot;</ETag><Size>4</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in page
    )
    token = f"<NextContinuationToken>{keys[start + PAGE - 1]}</NextContinuationToken>" if more else ""
    kind = "<EncodingType>url</EncodingType>" if url else ""
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(page)}</KeyCount>{kind}{token}"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{contents}</ListBucketResult>"
    ).encode()
