"""Recognizes servers of Socket.IO 2 (Engine.IO 3) and older, which this client cannot use.

A server of an old version ignores the requested version. It does not send the pings on which a connection of Engine.IO
4 depends, and ends the connection after about 30 s. So an old server must be recognized when the connection starts.
"""

from __future__ import annotations

import re
from typing import Final

import aiohttp

OLD_PROTOCOL: Final = (
    "speaks Engine.IO 3 (Socket.IO 2 or older), but Engine.IO 4 (Socket.IO 3 or later) is needed; update the server"
)
REFUSAL: Final = {"message": OLD_PROTOCOL}
"""Payload of the refusal that `ClientPacket` reports."""
_LENGTH_PREFIX: Final = re.compile(rb"^[0-9]+:0\{|^\x00[\x00-\x09]+\xff0\{")
"""Start of the first polling answer in version 3: the length of each packet precedes it. Version 4 has separators."""


class OldProtocol(aiohttp.ClientError):
    """The server speaks an old version of the protocol. The text is OLD_PROTOCOL."""

    def __init__(self) -> None:
        super().__init__(OLD_PROTOCOL)


def is_old_handshake(body: bytes) -> bool:
    """Whether the body of a polling handshake is in the format of Engine.IO 3."""
    return _LENGTH_PREFIX.match(body) is not None
