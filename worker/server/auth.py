"""Who may connect: true HTTP statuses on the handshake, for polling and websocket alike.

python-socketio can only refuse inside the connection (HTTP 200), so this stands in front of it. Only handshakes carry
the key for sure: later requests name the session id, which is a secret of its own (browsers cannot send headers with
the websocket that an upgrade opens).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import web

from worker.errors import SettingsError
from worker.realtime.messages import KEY_HEADER
from worker.realtime.wirejson import dumps
from worker.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CORS: Final = {"Access-Control-Allow-Origin": "*"}


class Keys:
    """The keys that are accepted; compared in constant time, whatever their lengths."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __contains__(self, key: str) -> bool:
        given = _digest(key)
        # No early exit: the time must not tell which key was close.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


def keys(settings: Settings) -> Keys:
    """The keys of STT_SERVER_API_KEYS, else STT_API_KEY. Raises SettingsError when there is none."""
    given = settings.server_api_keys.get_secret_value() or settings.api_key.get_secret_value()
    accepted = [key.strip() for key in given.split(",") if key.strip()]
    if not accepted:
        raise SettingsError(
            "the self-hosted service needs at least one key: set STT_SERVER_API_KEYS (comma-separated) or STT_API_KEY"
        )
    return Keys(accepted)


def guarded(handler: Handler, accepted: Keys, unavailable: Callable[[], Awaitable[str | None]]) -> Handler:
    """`handler` behind the key check (401) and the state of the service (500); `unavailable` says what is wrong."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS" or "sid" in request.query:
            return await handler(request)
        key = request.headers.get(KEY_HEADER)
        if not key:
            return refusal(401, "auth_error", f"the header {KEY_HEADER} is missing")
        if key not in accepted:
            return refusal(401, "auth_error", f"the key in the header {KEY_HEADER} is not accepted")
        problem = await unavailable()
        if problem is not None:
            return refusal(500, "transcriber_error", problem)
        return await handler(request)

    return handle


def refusal(status: int, error: str, message: str) -> web.Response:
    """A JSON answer that says why."""
    return web.Response(
        status=status, text=dumps({"error": error, "message": message}), content_type="application/json", headers=_CORS
    )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
