"""Sessions of the console: a random token in a cookie stands for a key of STT_HTTP_KEYS.

Redis stores, under a digest of the token, a MAC of the token whose key is the digest of the API key. So a reader of
Redis can neither use a session nor create one, and a session ends when its key is removed from STT_HTTP_KEYS.
"""

from __future__ import annotations

import hashlib
import hmac
from secrets import token_urlsafe
from typing import Final

from worker.http_keys import Keyring, Principal
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

SESSION_S: Final = 12 * 3600
"""Lifetime of a session in seconds. Use does not extend it."""
MAX_TOKEN: Final = 100


class Sessions:
    """Belongs to the event loop of its connection. Methods raise LedgerUnavailable."""

    def __init__(self, connection: RedisConnection, keys: Keys, keyring: Keyring) -> None:
        self._connection, self._keys, self._keyring = connection, keys, keyring

    async def start(self, key: str) -> tuple[str, Principal] | None:
        """Exchange an API key for the token of a new session. Returns None if the key is not accepted."""
        # A key is a value of a header, so it contains no other characters.
        principal = self._keyring.find(key) if key.isascii() else None
        if principal is None:
            return None
        token, digest = token_urlsafe(32), hashlib.sha256(key.encode()).digest()
        name, mac = self._name(token), _mac(digest, token)
        await self._connection.call(lambda redis: redis.set(name, mac, ex=SESSION_S))
        return token, principal

    async def find(self, token: str) -> Principal | None:
        """Return the principal of a session, with its present role. None if the session has ended."""
        if not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            return None
        name = self._name(token)
        stored = await self._connection.call(lambda redis: redis.get(name))
        if not isinstance(stored, str) or not stored.isascii():
            return None
        found = None
        for digest, principal in self._keyring.entries:
            if hmac.compare_digest(stored, _mac(digest, token)):
                found = principal
        return found

    async def end(self, token: str) -> None:
        name = self._name(token)
        await self._connection.call(lambda redis: redis.delete(name))

    def _name(self, token: str) -> str:
        return self._keys[f"console:session:{hashlib.sha256(token.encode()).hexdigest()}"]


def csrf_token(token: str) -> str:
    """Return the token that requests of a session must repeat in a header, which other sites cannot do."""
    return hmac.new(token.encode(), b"stt-batch csrf", hashlib.sha256).hexdigest()


def _mac(digest: bytes, token: str) -> str:
    return hmac.new(digest, token.encode(), hashlib.sha256).hexdigest()


__all__ = ["SESSION_S", "Sessions", "csrf_token"]
