"""Checks API keys and refuses requests with the right HTTP status, for polling and websocket.

This module checks the key because python-socketio can only refuse a client after it has accepted the connection (HTTP
200). The key is checked at the handshake only, because browsers cannot send headers with a request that upgrades to a
websocket. Later requests carry the session id, which is a secret as well.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from worker.errors import SettingsError
from worker.realtime.json_codec import dumps
from worker.realtime.messages import KEY_HEADER
from worker.settings import Settings


@dataclass(slots=True)
class Handshake:
    """A handshake with an accepted key. Stored on the handshake's request, which exists as long as the session."""

    began_at: float
    """Time of the handshake on the monotonic clock, in seconds."""
    verified: bool = True
    """Whether the key was in a header. If not, the client must send it as `auth: {token}` when it joins."""
    joined: bool = False
    """Whether the client has joined the Socket.IO namespace."""


HANDSHAKE: Final = web.RequestKey("handshake", Handshake)
# Without this header, a browser does not let a page read why its request was refused.
_CORS: Final = {"Access-Control-Allow-Origin": "*"}


class AcceptedKeys:
    """The set of accepted keys. `key in keys` takes the same time for every key of any length."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __contains__(self, key: str) -> bool:
        given = _digest(key)
        # Compare with every key, without an early exit: the time must not reveal which key matched.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


def accepted_keys(settings: Settings) -> AcceptedKeys:
    """Return the keys in STT_SERVER_API_KEYS. If this setting is empty, return the keys in STT_API_KEY. Raises
    SettingsError if both settings are empty."""
    given = settings.server_api_keys.get_secret_value() or settings.api_key.get_secret_value()
    accepted = [key.strip() for key in given.split(",") if key.strip()]
    if not accepted:
        raise SettingsError(
            "the self-hosted service needs at least one key: set STT_SERVER_API_KEYS (comma-separated) or STT_API_KEY"
        )
    return AcceptedKeys(accepted)


def problem_with_key(request: web.Request, accepted: AcceptedKeys) -> str | None:
    """Return the reason to refuse the key of the handshake `request`, or None if the key is accepted."""
    given = request.headers.getall(KEY_HEADER, [])
    if not given or not given[0]:
        return f"the header {KEY_HEADER} is missing"
    # Refuse a repeated header: a proxy in front of this server might check another one of the values.
    if len(given) > 1:
        return f"the header {KEY_HEADER} is repeated; send it once"
    if given[0] not in accepted:
        return f"the key in the header {KEY_HEADER} is not accepted"
    return None


def may_send_token(request: web.Request) -> bool:
    """Whether the client is a browser page without the key header. Such a client may send the key as `auth: {token}`,
    because a page cannot set headers of a websocket. All other clients without the header are refused at the handshake,
    with an HTTP status."""
    return KEY_HEADER not in request.headers and "Origin" in request.headers


def token_of(auth: object) -> str:
    """Return the key in the `auth` of a client that joins the namespace, or ""."""
    token = auth.get("token") if isinstance(auth, dict) else None
    return token if isinstance(token, str) else ""


def refusal(status: int, error: str, message: str, code: int | None = None) -> web.Response:
    """Return a JSON response with the error name and the reason. `code`: the number of the error in Engine.IO's own
    server, which some clients show."""
    body = {"error": error, "message": message} | ({} if code is None else {"code": code})
    return web.Response(status=status, text=dumps(body), content_type="application/json", headers=_CORS)


def _digest(key: str) -> bytes:
    # aiohttp decodes a header that is not UTF-8 with surrogates, which only `surrogateescape` can encode again. Digests
    # have one length, so the time of a comparison does not reveal the length of a key.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
