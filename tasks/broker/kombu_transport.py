"""Hardens kombu's Redis transport: no message and no broken connection can end a worker.

kombu offers no hook before it parses a message, so its channel class is replaced (`install`): the reply to BRPOP is
checked while it is still bytes, and only messages that `tasks.broker.message_validation` built reach kombu and Celery.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from kombu.exceptions import OperationalError
from kombu.transport import redis as transport

from tasks.broker.eta_limit import EtaBudget
from tasks.broker.key_prefix import PrefixedKeys
from tasks.broker.message_validation import MessageRefused, eta_of, rebuilt
from tasks.broker.redis_address import AddressedChannel
from worker.ledger.connection import is_permanent
from worker.ledger.dead_letters import dead_letter, write

_LOG: Final = logging.getLogger(__name__)
_DEFAULT_TTL_S: Final = 604_800
_REPLIES: Final = ".reply.celery.pidbox"
"""Suffix of the queues with replies of Celery's remote control. Only clients of the remote control read them."""
REFUSAL_PAUSE_S: Final = 1.0
"""Seconds until the queue is read again after Redis refused it permanently, such as for a key of the wrong type. The
refusals last until a person fixes the key."""
_OPTIONS: Final = ("dead_letters_key", "dead_letters_ttl_s", "key_prefix", "redis_address")


class _QoS(transport.QoS):
    """Tolerates errors of kombu 5.7 after a broken connection.

    An error occurs when kombu closes the connection while Redis is still down. Another error occurs when a task ends
    whose message came on the broken connection. Without this class, each of these errors ends the worker, so a restart
    of Redis would end all workers. After such an error, the message is neither requeued nor acknowledged. It is
    delivered again after the visibility timeout; before that, the reaper sends a new message for each job that needs
    one.
    """

    def restore_unacked(self, client: Any = None) -> None:
        try:
            super().restore_unacked(client)  # type: ignore[no-untyped-call]
        except Exception as exc:  # noqa: BLE001  AttributeError, ConnectionError and others
            _LOG.warning("unacknowledged messages were not requeued: %s", exc)
            self._delivered.clear()

    def ack(self, delivery_tag: str) -> None:
        if self.channel.connection is not None:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if self.channel.connection is not None:
            super().reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Requeue an unacknowledged message, which kombu stores in a hash in Redis. An entry that kombu cannot read
        becomes a dead letter, because kombu would try it again and again. Other programs may use the same hash; their
        messages are requeued unchanged."""
        with self.channel.conn_or_acquire(client) as connection:
            entry = connection.hget(self.unacked_key, tag)
            if entry is None or _restorable(entry):
                super().restore_by_tag(tag, client=connection, leftmost=leftmost)  # type: ignore[no-untyped-call]
            else:
                self._remove_from_indices(tag).execute()  # type: ignore[no-untyped-call]
                self.channel.refuse(entry, self.unacked_key, "an unacknowledged message that cannot be requeued")


def _restorable(entry: bytes) -> bool:
    """Whether kombu can read an entry of its hash of unacknowledged messages: [message, exchange, routing key]."""
    try:
        message, exchange, routing_key = json.loads(entry)
    except (ValueError, TypeError, RecursionError):
        return False
    parts = [message, *(message.get(name) for name in ("headers", "properties"))] if _is_object(message) else [None]
    named = isinstance(exchange, str) and isinstance(routing_key, str) and bool(routing_key)
    return named and all(map(_is_object, parts)) and _is_object(message["properties"].get("delivery_info", {}))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


class _Checked(PrefixedKeys, AddressedChannel):
    """Mixin for channel classes of kombu: every message is checked before kombu parses it."""

    QoS = _QoS
    dead_letters_key = "dead-letters"
    dead_letters_ttl_s = _DEFAULT_TTL_S
    _etas: EtaBudget | None = None
    _commands: Any = None
    from_transport_options = (  # type: ignore[assignment]
        *transport.Channel.from_transport_options,
        *_OPTIONS,
    )

    def _get_client(self) -> type:
        """Return a Redis client class that checks each reply to BRPOP, which contains a message."""
        channel = self
        base: Any = super()._get_client()

        class Client(base):  # type: ignore[misc]
            def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
                try:
                    reply = super().parse_response(connection, command_name, **options)
                except transport.Transport.channel_errors as exc:
                    if command_name != "BRPOP" or not is_permanent(exc):
                        raise
                    _pause_after_refusal(exc)
                    return None
                return channel.checked(*reply) if command_name == "BRPOP" and reply else reply

        return Client

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return one client for all commands that do not wait for messages. kombu creates a client for each message and
        for each acknowledgement, which takes 0.3 ms: a tenth of the CPU time of the main thread. The client takes a
        connection from the pool for each command, so several threads can use it."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._commands is None or self._commands.connection_pool is not self.pool:
            self._commands = super()._create_client()  # type: ignore[no-untyped-call]
        return self._commands

    def _size(self, queue: str) -> int:
        """Return the number of messages in a queue, or 0 if Redis refuses the queue permanently. kombu calls this when
        it declares the queue."""
        try:
            return int(super()._size(queue))  # type: ignore[no-untyped-call]
        except transport.Transport.channel_errors as exc:
            if not is_permanent(exc):
                raise
            _pause_after_refusal(exc)
            return 0

    def checked(self, list_name: bytes, raw: bytes) -> tuple[bytes, bytes] | None:
        """Check the message `raw` from the list `list_name`. Returns the reply for kombu: the list without
        the prefix, and the rebuilt message. If the message is refused, returns None, the reply for an empty queue."""
        list_name = self.without_prefix(list_name)
        queue = list_name.decode("utf-8", "backslashreplace").rsplit(self.sep, 1)[0]
        if queue.endswith(_REPLIES):
            return list_name, raw
        try:
            made = rebuilt(raw, queue)
            self._count_eta(made)
            return list_name, made
        except MessageRefused as exc:
            self.refuse(raw, queue, str(exc), exc.job)
        except Exception as exc:  # noqa: BLE001  a bug in the checks must not end the worker either
            _LOG.exception("a message could not be checked")
            self.refuse(raw, queue, f"cannot be checked: {type(exc).__name__}: {exc}")
        return None

    def _count_eta(self, made: bytes) -> None:
        """Count a message that Celery stores in memory until its eta. Raises MessageRefused if there are too many of
        these messages."""
        eta = eta_of(made)
        if eta and self._etas is None:
            self._etas = EtaBudget()  # one per channel: Celery drops waiting messages when the connection breaks
        if eta and self._etas is not None and not self._etas.take(eta, len(made), time.time()):
            raise MessageRefused("headers.eta: too many messages with an eta wait in this worker; send it without one")

    def refuse(self, raw: bytes, queue: str, reason: str, job: str = "") -> None:
        """Log a refused message and add it to the dead letters. The caller has already removed it from its queue."""
        from worker import metrics  # noqa: PLC0415  producers also load this module, without metrics

        metrics.MESSAGES_REFUSED.inc()
        entry = dead_letter(raw, queue, reason, job)
        job = entry["job"] or "-"
        _LOG.warning("message refused: queue=%s job=%s bytes=%s: %s", entry["queue"], job, len(raw), entry["reason"])
        try:
            with self.conn_or_acquire() as client:
                pipeline = client.pipeline(transaction=False)
                write(pipeline, self.dead_letters_key, entry, self.dead_letters_ttl_s)
                pipeline.execute()
        except Exception as exc:  # noqa: BLE001  the worker must continue after any error
            _LOG.error("a refused message is not in the dead letters (sha256 %s): %s", entry["sha256"], exc)

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        tag = super().basic_consume(queue, *args, **kwargs)  # type: ignore[no-untyped-call]
        callbacks = self.connection._callbacks
        callbacks[queue] = self._guarded(queue, callbacks[queue])
        return tag

    def _guarded(self, queue: str, deliver: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Wrap `deliver`, so that an error of kombu or Celery on a message ends neither the worker nor its connection.
        This is the only protection for messages of the remote control, which arrive by publish and subscribe. All other
        messages are also checked earlier (see `checked`)."""

        def call(message: Any) -> Any:
            try:
                return deliver(message)
            except (KeyError, TypeError, ValueError, AttributeError, LookupError, RecursionError, OverflowError) as exc:
                _LOG.exception("a message could not be delivered")
                self.refuse(_text_of(message), queue, f"cannot be delivered: {type(exc).__name__}: {exc}")
                properties = message.get("properties") if isinstance(message, dict) else None
                tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
                # Acknowledge the refused message. Otherwise kombu would deliver it again.
                if isinstance(tag, str) and tag in self.qos._delivered:
                    self.qos.ack(tag)
                return None

        return call


def _pause_after_refusal(exc: Exception) -> None:
    """Pause after Redis refused a command permanently, for example because the key of the queue is not a list. The
    error is not raised, because Celery would then reconnect continuously."""
    _LOG.error("no messages are received: Redis refuses to read the queue (STT_QUEUE): %s", exc)
    time.sleep(REFUSAL_PAUSE_S)


def _text_of(message: object) -> bytes:
    try:
        return json.dumps(message).encode()
    except (TypeError, ValueError, RecursionError):
        return type(message).__name__.encode()


class CheckedChannel(_Checked, transport.Channel):
    pass


class CheckedSentinelChannel(_Checked, transport.SentinelChannel):
    from_transport_options = (  # type: ignore[assignment]
        *transport.SentinelChannel.from_transport_options,
        *_OPTIONS,
    )


def install() -> None:
    """Make kombu use the checked channel classes for all connections of this process."""
    transport.Transport.Channel = CheckedChannel
    transport.SentinelTransport.Channel = CheckedSentinelChannel


SEND_ERRORS: Final[tuple[type[Exception], ...]] = (OperationalError, *transport.Transport.channel_errors)
"""The errors that kombu raises if a message cannot be sent."""


def is_permanent_failure(exc: BaseException) -> bool:
    """Whether the queue would refuse the same message again."""
    return is_permanent(exc) or (exc.__cause__ is not None and is_permanent(exc.__cause__))


__all__ = ["SEND_ERRORS", "install", "is_permanent_failure"]
