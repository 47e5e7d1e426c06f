"""Keys of the server, and refusals with true HTTP statuses, for polling and websocket alike.

python-socketio can only refuse inside the connection (HTTP 200). Only handshakes reliably carry the key: later requests
carry the session id, which is a secret as well (browsers cannot send headers when an upgrade opens a websocket).
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
    """A handshake with an accepted key; stored on its request, which lives as long as the session."""

    began_at: float
    """Time of the handshake on the monotonic clock, in seconds."""
    joined: bool = False
    """Whether the client has joined the namespace of the API."""


HANDSHAKE: Final = web.RequestKey("handshake", Handshake)
_CORS: Final = {"Access-Control-Allow-Origin": "*"}


class AcceptedKeys:
    """The keys that are accepted; compared in constant time, whatever their lengths."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __contains__(self, key: str) -> bool:
        given = _digest(key)
        # No early exit: the time must not tell which key was close.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


def accepted_keys(settings: Settings) -> AcceptedKeys:
    """The keys of STT_SERVER_API_KEYS, else STT_API_KEY. Raises SettingsError when there is none."""
    given = settings.server_api_keys.get_secret_value() or settings.api_key.get_secret_value()
    accepted = [key.strip() for key in given.split(",") if key.strip()]
    if not accepted:
        raise SettingsError(
            "the self-hosted service needs at least one key: set STT_SERVER_API_KEYS (comma-separated) or STT_API_KEY"
        )
    return AcceptedKeys(accepted)


def problem_with_key(request: web.Request, accepted: AcceptedKeys) -> str | None:
    """The reason to refuse the key of a handshake; None if it is accepted."""
    given = request.headers.getall(KEY_HEADER, [])
    if not given or not given[0]:
        return f"the header {KEY_HEADER} is missing"
    # A proxy may check another one of the repeated headers than this server.
    if len(given) > 1:
        return f"the header {KEY_HEADER} is repeated; send it once"
    if given[0] not in accepted:
        return f"the key in the header {KEY_HEADER} is not accepted"
    return None


def refusal(status: int, error: str, message: str) -> web.Response:
    """A JSON answer that says why."""
    return web.Response(
        status=status, text=dumps({"error": error, "message": message}), content_type="application/json", headers=_CORS
    )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
