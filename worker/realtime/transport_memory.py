"""Remembers the services that can only be reached by polling, so that later sessions do not try a websocket first. No
I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

RETRY_WEBSOCKET_S: Final = 900.0
"""Seconds after which a websocket is tried again: a proxy may have been replaced meanwhile."""
MAX_ENDPOINTS: Final = 256


class TransportMemory:
    """Maps an endpoint (the service, and the proxy on the way to it) to the time until which only polling is tried.

    Times are seconds on any monotonic clock."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def needs_polling(self, endpoint: str, now: float) -> bool:
        """Whether a websocket to the endpoint failed recently, and polling worked."""
        return self._until.get(endpoint, now) > now

    def remember_polling(self, endpoint: str, now: float) -> None:
        """Store that polling worked where a websocket did not. If too many endpoints are stored, the oldest one is
        removed."""
        self._until[endpoint] = now + RETRY_WEBSOCKET_S
        self._until.move_to_end(endpoint)
        while len(self._until) > MAX_ENDPOINTS:
            self._until.popitem(last=False)

    def forget(self, endpoint: str) -> None:
        """Try a websocket first again."""
        self._until.pop(endpoint, None)
