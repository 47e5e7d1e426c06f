"""Reads the exceptions of python-socketio and aiohttp: the HTTP status and the text. No I/O."""

from __future__ import annotations

import re
from typing import Final

import aiohttp

from worker.network.failure_reasons import chain

NO_HANDSHAKE: Final = "no real-time service: the answer to the handshake is not that of a Socket.IO server"
_QUERY: Final = re.compile(r"(://[^\s?'\"]{0,2000})\?[^\s'\"]*")
# The text of aiohttp's ClientResponseError. Over polling, only the text reaches the caller.
_INVALID_HTTP: Final = re.compile(r"\A\d{3}, message=(['\"])(.*)\1, url=.*\Z", re.DOTALL)


def status_in(exc: BaseException) -> int | None:
    """Return the HTTP status of a refused handshake from the exception's text or its chain of causes, or None."""
    found = re.search(r"status code (\d{3})", str(exc))
    if found:
        return int(found.group(1))
    statuses = (getattr(e, "status", None) for e in chain(exc) if not _is_invalid_http(e))
    return next((s for s in statuses if isinstance(s, int)), None)


def library_text(exc: BaseException, *, encrypted: bool = False) -> str:
    """Return the text of the most specific error in the chain of causes. The text of the library's own exception is
    only "Connection error". `encrypted`: whether the connection uses TLS."""
    texts = [str(e) for e in chain(exc) if isinstance(e, aiohttp.ClientError | OSError) and str(e)]
    known = [text for e in chain(exc) if (text := _known_text(e, encrypted=encrypted)) is not None]
    if known:
        return known[0]
    text = texts[0] if texts else str(exc) or type(exc).__name__
    # aiohttp quotes the whole address. Its query may contain a token.
    text = _QUERY.sub(r"\1", _INVALID_HTTP.sub(r"the answer is not valid HTTP: \2", text))
    return "the server at this address does not speak HTTP" if "Bad status line" in text else text


def _known_text(exc: BaseException, *, encrypted: bool) -> str | None:
    """Return a sentence in place of a library text that users cannot understand, or None."""
    if isinstance(exc, aiohttp.ClientConnectorError) and not exc.os_error.strerror:
        # aiohttp itself writes "Cannot connect to host … ssl:default [None]".
        if encrypted and isinstance(exc.os_error, ConnectionError):
            return "the server closed the connection during the TLS handshake; it may require another version of TLS"
        return f"cannot be reached: {exc.os_error or type(exc.os_error).__name__}"
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        # With TLS 1.3, a server that requires a client certificate closes only after the handshake.
        remedy = (
            "requires a client certificate, set STT_CLIENT_CERT_FILE" if encrypted else "requires TLS, use https://"
        )
        return f"the server closed the connection without an answer; if it {remedy}"
    if str(exc).startswith("Unexpected response from server"):
        return NO_HANDSHAKE
    return None


def _is_invalid_http(exc: BaseException) -> bool:
    # aiohttp gives such an error the status 400, although the server sent none.
    with_answer = (aiohttp.WSServerHandshakeError, aiohttp.ClientHttpProxyError)
    return isinstance(exc, aiohttp.ClientResponseError) and not isinstance(exc, with_answer)


__all__ = ["NO_HANDSHAKE", "library_text", "status_in"]
