"""Converts a refusal of the service, in any form, to its kind, its action and its error. No I/O.

A refusal is an HTTP response to a handshake, a Socket.IO packet CONNECT_ERROR, an error message, a close or a lost
connection. `error_table` has the kinds, `error_shapes` reads the bodies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Template
from typing import Final

from worker.errors import (
    AccountRefused,
    AuthRefused,
    EndpointBusy,
    EndpointError,
    EndpointUnavailable,
    PermissionRefused,
    ProtocolRefused,
    RequestRefused,
    SessionLost,
)
from worker.network.retry_after import retry_after_s, seconds_of
from worker.realtime.error_shapes import ErrorFacts, read_error, shown_text
from worker.realtime.error_table import (
    ACTIONS,
    KIND_OF_NAME,
    ErrorKind,
    RetryAction,
    kind_of,
    kind_of_close,
    kind_of_status,
    status_of,
)
from worker.realtime.intermediaries import is_error_of_cdn, is_from_intermediary, is_html, page_title
from worker.realtime.messages import close_text

_ON_FAILURE: Final = (ErrorKind.BUSY, ErrorKind.SERVICE, ErrorKind.NOT_FOUND)
"""Kinds that the body of a response with HTTP 5xx can have."""
_DECISIVE: Final[Mapping[ErrorKind, tuple[ErrorKind, ...]]] = {
    ErrorKind.KEY: (ErrorKind.PERMISSION, ErrorKind.ACCOUNT, ErrorKind.BUSY),
    ErrorKind.ACCOUNT: (),
    ErrorKind.BUSY: (ErrorKind.ACCOUNT,),
    ErrorKind.NOT_FOUND: (ErrorKind.KEY, ErrorKind.ACCOUNT),
}
"""Kind of an HTTP status -> the kinds that a body can have instead. Some services answer 401 to an account without
credit, and 429 to a used up quota."""
_OF_HANDSHAKE: Final = (ErrorKind.KEY, ErrorKind.PERMISSION, ErrorKind.ACCOUNT, ErrorKind.BUSY)
"""Kinds that the body of any other response can have."""
_KIND_IN_SESSION: Final = {ErrorKind.PROTOCOL: ErrorKind.REQUEST, ErrorKind.NOT_FOUND: ErrorKind.UNKNOWN}
"""Kind of the HTTP status of a handshake -> the kind of the same status in an error message of a session."""
_MAYBE_TRANSIENT: Final = (400, 403)
"""Statuses with which intermediaries refuse requests, too."""
_CHECK: Final = "check STT_URL, the network, and that the service runs"
_ERRORS: Final[Mapping[ErrorKind, tuple[type[EndpointError], str]]] = {
    ErrorKind.KEY: (AuthRefused, "API key refused by $url ($detail): check STT_API_KEY and the account's access"),
    ErrorKind.PERMISSION: (
        PermissionRefused,
        "$url refuses this API key a permission ($detail): grant it in the account, or set STT_API_KEY to another key",
    ),
    ErrorKind.ACCOUNT: (
        AccountRefused,
        "$url refuses the account of this API key ($detail): check its credit, its plan and its terms",
    ),
    ErrorKind.REQUEST: (RequestRefused, "$url refused the audio or an option of the session: $detail"),
    ErrorKind.PROTOCOL: (
        ProtocolRefused,
        "$url does not accept the form of the request ($detail): check STT_URL, and proxies before the service",
    ),
    ErrorKind.BUSY: (EndpointBusy, "$url is at its limit: $detail"),
    ErrorKind.INTERMEDIARY: (
        EndpointUnavailable,
        f"$url: a proxy, firewall or CDN answered instead of the service ($detail); {_CHECK}",
    ),
    ErrorKind.NOT_FOUND: (EndpointUnavailable, f"$url: no real-time service: $detail at the handshake; {_CHECK}"),
    ErrorKind.SESSION: (SessionLost, "$url: $detail"),
}
_AT_HANDSHAKE: Final[tuple[type[EndpointError], str]] = (
    EndpointUnavailable,
    f"$url: the service fails ($detail); {_CHECK}",
)
_IN_SESSION: Final[tuple[type[EndpointError], str]] = (SessionLost, "$url reported an error: $detail")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal. `detail`: its origin and the service's own text, for the error message. `status`: the status of the
    HTTP response, if the refusal is one. `in_band`: whether the refusal is a packet CONNECT_ERROR or a
    close before the connection was accepted."""

    kind: ErrorKind
    detail: str
    status: int | None = None
    retry_after_s: float | None = None
    in_band: bool = False

    @property
    def action(self) -> RetryAction:
        return ACTIONS[self.kind]

    def error(self, shown: str) -> EndpointError:
        """Return the error for the service at the address `shown`."""
        error = _error(self, shown)
        error.retry_after_s = self.retry_after_s
        # An intermediary may have refused the request. `after_refusal` assumes this if the key was accepted before.
        error.may_be_transient = self.status in _MAYBE_TRANSIENT and self.action is RetryAction.FAIL
        return error


def of_response(status: int, headers: Mapping[str, str], body: str) -> Refusal:
    """Read a response to a handshake or an upgrade.

    `body`: the text of the response, in which secrets are masked. `headers`: their names may have upper or lower case
    letters."""
    lower = {name.lower(): value for name, value in headers.items()}
    payload = _json(body)
    facts = read_error(payload) if payload is not None else ErrorFacts()
    # The message begins with the status, so the body need not repeat it.
    facts.names = [name for name in facts.names if status_of(name) != status]
    html = payload is None and is_html(lower, body)
    if payload is None and not html:
        facts.texts.append(body)
    kind = _kind_of_response(status, facts, json_body=payload is not None, html=html, headers=lower)
    pause_s = retry_after_s({name.title(): value for name, value in lower.items()}) or seconds_of(facts.retry_after)
    detail = f"HTTP {status}"
    if html:
        detail += f" with an HTML page{page_title(body)}"
    elif text := shown_text(facts.text):
        detail += f": {text}"
    if kind is ErrorKind.INTERMEDIARY and "cf-ray" in lower:
        detail += f", cf-ray {shown_text(lower['cf-ray'], 40)}"
    return Refusal(kind, detail, status, pause_s)


def of_packet(payload: object, mask: Callable[[str], str] = str) -> Refusal:
    """Read the payload of a Socket.IO packet CONNECT_ERROR. `mask` masks the secrets in a text."""
    facts = read_error(payload)
    text = shown_text(mask(facts.text))
    detail = f"connection refused: {text}" if text else "connection refused without a reason"
    return Refusal(_kind_in_band(facts), detail, retry_after_s=seconds_of(facts.retry_after), in_band=True)


def of_error(name: str, text: str, pause_s: float | None = None) -> Refusal:
    """Read an error message of a session. `name`: the name of the error, which may be missing in the table. `pause_s`:
    the pause in seconds that the message demands."""
    kind = _kind_in_band(ErrorFacts([name], [text]))
    kind = _KIND_IN_SESSION.get(kind, kind) if status_of(name) else kind
    return Refusal(kind, shown_text(text) or name, retry_after_s=pause_s)


def of_close(code: int | None, reason: str, detail: str) -> Refusal:
    """Read a close of a session. `detail`: text for the message.

    The service has accepted the request of the session. So a private close code such as 4400 or 4409 whose reason names
    no known cause does not mean that the request is wrong: it is retried."""
    kind = kind_of_close(code, reason)
    if kind in _KIND_IN_SESSION and kind_of((), reason) is ErrorKind.UNKNOWN:
        kind = ErrorKind.UNKNOWN
    return Refusal(kind, shown_text(detail))


def of_early_close(code: int, reason: str) -> Refusal:
    """Read a close of the websocket before the connection was accepted. `reason`: secrets in it are masked."""
    kind = kind_of_close(code, reason)
    if kind in (ErrorKind.SESSION, ErrorKind.UNKNOWN):
        kind = ErrorKind.SERVICE  # there is no session yet
    return Refusal(kind, shown_text(close_text(code, reason)), in_band=True)


def of_drop(detail: str, close_code: int | None = None, close_reason: str = "") -> Refusal:
    """Read a lost connection. The kind is taken only if it is about the key, the account or a busy service. `detail`:
    text for the message. `close_code`: that of the websocket, or None if it was not closed with one."""
    kind = kind_of((), detail) if close_code is None else kind_of_close(close_code, close_reason)
    decisive = (ErrorKind.KEY, ErrorKind.PERMISSION, ErrorKind.ACCOUNT, ErrorKind.BUSY)
    return Refusal(kind if kind in decisive else ErrorKind.UNKNOWN, shown_text(detail))


def _kind_in_band(facts: ErrorFacts) -> ErrorKind:
    """Return the kind of an error without an HTTP response. A status in it counts like the one of a response."""
    named = kind_of(facts.names, facts.text)
    if facts.status is None or facts.name in KIND_OF_NAME:
        return named
    return _kind_of_response(facts.status, facts, json_body=True, html=False, headers={})


def _kind_of_response(
    status: int, facts: ErrorFacts, *, json_body: bool, html: bool, headers: Mapping[str, str]
) -> ErrorKind:
    # This is checked first, because such a body comes from the intermediary, and does not refer to the key or the
    # account.
    if is_from_intermediary(status, headers):
        return ErrorKind.INTERMEDIARY
    by_status, named = kind_of_status(status), kind_of(facts.names, facts.text)
    if status >= 500:
        # A service that fails cannot judge keys and accounts. So only an error name about the account is used.
        decisive = (*_ON_FAILURE, ErrorKind.ACCOUNT) if facts.name in KIND_OF_NAME else _ON_FAILURE
        without_name = by_status if json_body or by_status is ErrorKind.NOT_FOUND else ErrorKind.INTERMEDIARY
        return named if json_body and named in decisive else without_name
    # An HTML page is not an answer of the API. So the status decides, and the words in the page are ignored.
    if (instead := _DECISIVE.get(by_status)) is not None:
        return named if named in instead and not html else by_status
    if html or (not json_body and is_error_of_cdn(headers, facts.text)):
        return ErrorKind.INTERMEDIARY
    return named if named in _OF_HANDSHAKE else by_status


def _error(refusal: Refusal, shown: str) -> EndpointError:
    at_handshake = refusal.status is not None or refusal.in_band
    error, text = _ERRORS.get(refusal.kind) or (_AT_HANDSHAKE if at_handshake else _IN_SESSION)
    return error(Template(text).substitute(url=shown, detail=refusal.detail))


def _json(body: str) -> object | None:
    """Parse a JSON body. None if it is not JSON, or a JSON value without information."""
    if body.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        return json.loads(body) or None
    except (ValueError, RecursionError):
        return None


__all__ = ["Refusal", "of_close", "of_drop", "of_early_close", "of_error", "of_packet", "of_response"]
