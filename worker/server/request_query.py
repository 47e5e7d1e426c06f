"""Parses the query of a request to the real-time endpoint strictly. No I/O.

If the server's checks and python-engineio read a query differently, clients can bypass the checks: one parser finds a
session id in a blank, repeated or doubly encoded `sid`, and the other does not. So only this module parses the query.
python-engineio receives `EngineIoQuery.canonical`, which is built from the result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

# Numbers of errors in the official server of Engine.IO (its `Server.errors`).
TRANSPORT_UNKNOWN: Final = 0
SESSION_UNKNOWN: Final = 1
BAD_HANDSHAKE_METHOD: Final = 2
BAD_REQUEST: Final = 3
UNSUPPORTED_VERSION: Final = 5
TRANSPORTS: Final = ("polling", "websocket")
_VERSION: Final = "4"
_NAMES: Final = ("EIO", "transport", "sid", "j")
# The ids of python-engineio are 15 random bytes as base64 for URLs.
_SID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class QueryRefused(Exception):
    """The query is invalid or ambiguous. The text gives the reason. The text and the error number that Engine.IO's own
    server uses are sent to the client."""

    def __init__(self, text: str, code: int = BAD_REQUEST) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class EngineIoQuery:
    """The parsed query of a request. `sid`: id of the session, or None in a handshake, which asks for a new session."""

    transport: str
    sid: str | None

    @property
    def websocket(self) -> bool:
        return self.transport == "websocket"

    @property
    def canonical(self) -> str:
        """The query string, rebuilt so that every parser reads it in the same way."""
        sid = "" if self.sid is None else f"&sid={self.sid}"
        return f"EIO={_VERSION}&transport={self.transport}{sid}"


def parse_query(raw: str) -> EngineIoQuery:
    """Parse the raw query string of a request line. Parameters that Engine.IO does not define are ignored.

    Raises QueryRefused for a parameter that is repeated, blank, or has a value that Engine.IO does not define.
    """
    found: dict[str, str] = {}
    for part in raw.split("&"):
        name, _, value = part.partition("=")
        name = _decoded(name)
        if name not in _NAMES:
            continue
        if name in found:
            raise QueryRefused(f"the query names {name} more than once")
        found[name] = _decoded(value)
    sid = found.get("sid")
    if sid is not None and not _SID.fullmatch(sid):
        raise QueryRefused("sid is not a session id")
    # A handshake must name the version. A request with a sid may omit it, because the handshake has fixed it.
    if found.get("EIO", "" if sid is None else _VERSION) != _VERSION:
        raise QueryRefused(
            "the query must name EIO=4: Socket.IO clients of version 3 and later are served", UNSUPPORTED_VERSION
        )
    transport = found.get("transport", "")
    if transport not in TRANSPORTS:
        raise QueryRefused(f"the query must name the transport: one of {', '.join(TRANSPORTS)}", TRANSPORT_UNKNOWN)
    if "j" in found:
        raise QueryRefused("JSONP (the parameter j) is not supported")
    return EngineIoQuery(transport, sid)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise QueryRefused("the query is not UTF-8") from None
