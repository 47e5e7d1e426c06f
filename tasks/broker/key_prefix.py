"""Puts all keys and channels of kombu below STT_REDIS_PREFIX, so that fleets with different prefixes are separate.

The names are those of kombu's own option `global_keyprefix`, so another Celery application reaches the same queue with
this option. The option itself is not used: kombu 5.7 does not prefix all commands, and subscribes to a prefix with `*`
or `[` as a pattern.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kombu.transport import redis as transport

    _Base = transport.Channel
else:
    _Base = object


class PrefixedKeys(_Base):
    """Mixin for channel classes of kombu. Set the transport option `key_prefix`.

    The names of queues inside kombu and Celery stay without the prefix. The keys of unacknowledged messages are set by
    the transport options of kombu."""

    key_prefix = ""

    def _get_client(self) -> Any:
        if self.global_keyprefix:  # an application of another program in this process uses kombu's own option
            self.key_prefix, self.global_keyprefix = self.global_keyprefix, ""
            for name in ("unacked_key", "unacked_index_key", "unacked_mutex_key"):
                setattr(self, name, f"{self.key_prefix}{getattr(self, name)}")
        return super()._get_client()  # type: ignore[no-untyped-call]

    @property
    def keyprefix_queue(self) -> str:  # type: ignore[override]
        return self._template("_kombu.binding.%s")

    @property
    def keyprefix_binding_permanent(self) -> str:  # type: ignore[override]
        return self._template("_kombu.binding_permanent.%s")

    @property
    def keyprefix_binding_deadlines(self) -> str:  # type: ignore[override]
        return f"{self.key_prefix}_kombu.binding_deadlines"

    def _template(self, name: str) -> str:
        return self.key_prefix.replace("%", "%%") + name

    def _q_for_pri(self, queue: str, pri: int) -> str:
        """Return the name of the Redis list of a queue and a priority."""
        return f"{self.key_prefix}{super()._q_for_pri(queue, pri)}"  # type: ignore[no-untyped-call]

    def without_prefix(self, key: bytes) -> bytes:
        return key.removeprefix(self.key_prefix.encode())

    def _get_publish_topics(self, exchange: str, routing_key: str) -> list[str]:
        topics = super()._get_publish_topics(exchange, routing_key)  # type: ignore[no-untyped-call]
        return [f"{self.key_prefix}{topic}" for topic in topics]

    def _get_subscribe_topics(self, queue: str) -> list[str]:
        # kombu calls `_get_publish_topics` for the names, and uses them as patterns of PSUBSCRIBE.
        topics = super()._get_subscribe_topics(queue)  # type: ignore[no-untyped-call]
        literal = re.sub(r"([*?\[\]\\^])", r"\\\1", self.key_prefix)
        return [literal + topic.removeprefix(self.key_prefix) for topic in topics]

    def _handle_message(self, client: Any, r: Any) -> dict[str, Any]:
        payload: dict[str, Any] = super()._handle_message(client, r)  # type: ignore[no-untyped-call]
        channel = payload["channel"]
        payload["channel"] = self.without_prefix(channel.encode() if isinstance(channel, str) else channel)
        return payload


__all__ = ["PrefixedKeys"]
