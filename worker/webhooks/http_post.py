"""Sends one signed webhook with HTTP POST.

Headers and signature follow Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), for which libraries exist in
many languages:

- `webhook-id`: the same at every attempt
- `webhook-timestamp`: time of the attempt, in Unix seconds
- `webhook-signature`: for each secret `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, separated by spaces

The producer of a job chooses the receiver, so the receiver is not trusted. Private addresses are refused unless the
settings allow them; the IP address of the connection is checked, not only the host name. Redirects are not followed,
and the body of the response is not read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from worker.errors import BadJob, SettingsError
from worker.network.failure_reasons import named_cause, proxy_refusal
from worker.network.proxy_choice import ProxyUnusable, Route
from worker.network.retry_after import retry_after_s
from worker.settings import Settings
from worker.storage.access_policy import check_webhook, private_webhook_reason, webhook_may_be_private
from worker.storage.address import Address, scrub
from worker.storage.guarded_http import PrivateHost, guarded_session, route_to

MIN_SECRET_BYTES: Final = 24
"""Minimum length of a secret, from the specification of Standard Webhooks."""
MAX_BODY_BYTES: Final = 65_536
"""Maximum size of the body of a webhook."""
MAX_RETRY_AFTER_S: Final = 3600.0
"""Longest pause that a receiver can request with the header Retry-After, in seconds."""
_PREFIX: Final = "whsec_"
"""Prefix of a secret in base64, from the specification of Standard Webhooks."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one attempt to send a webhook."""

    delivered: bool
    reason: str = ""
    """Why the webhook was not delivered, for people."""
    final: bool = False
    """Whether no further attempt is made, because it could only fail in the same way."""
    pause_s: float = 0.0
    """The pause before the next attempt that the receiver requests with Retry-After, in seconds; 0 if none."""
    timed_out: bool = False
    """Whether the attempt ended because there was no answer within STT_WEBHOOK_TIMEOUT_S."""


def signing_keys(settings: Settings) -> tuple[bytes, ...]:
    """Return the keys in STT_WEBHOOK_SECRET, in the order of the setting. Empty if no secret is set.

    Raises SettingsError for a secret that is too short or not valid base64."""
    texts = [text for text in re.split(r"[,\s]+", settings.webhook_secret.get_secret_value()) if text]
    keys = tuple(_key(text) for text in texts)
    if any(len(key) < MIN_SECRET_BYTES for key in keys):
        raise SettingsError(
            f"STT_WEBHOOK_SECRET: has less than {MIN_SECRET_BYTES} bytes; make one with: "
            "python3 -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
        )
    return keys


def _key(text: str) -> bytes:
    """Decode one secret. A text that begins with `whsec_` continues with the key in base64; any other text is the key
    itself. Raises SettingsError."""
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise SettingsError("STT_WEBHOOK_SECRET: the text after whsec_ is not base64") from None


def signature(keys: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`. `timestamp`: Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    # One signature per secret: during a rotation, receivers with the old and with the new secret can verify.
    made = (base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)
    return " ".join(f"v1,{text}" for text in made)


class WebhookSender:
    """Sends webhooks. Belongs to one event loop."""

    def __init__(self, settings: Settings, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: trusted certificates, by default those of the settings. Raises SettingsError for an invalid
        STT_WEBHOOK_SECRET."""
        self._settings = settings
        self._keys = signing_keys(settings)
        self._tls = tls

    @property
    def signs(self) -> bool:
        """Whether a secret is set. Without a secret, no webhook is sent, because a receiver could not verify the
        webhook."""
        return bool(self._keys)

    async def send(self, url: Address, message_id: str, body: bytes, now: float) -> SendResult:
        """Make one attempt, within STT_WEBHOOK_TIMEOUT_S. `now`: seconds since 1970, for the signed timestamp.

        Failures are returned, not raised."""
        route = self._allowed_route(url)
        if isinstance(route, SendResult):
            return route
        private = webhook_may_be_private(url, self._settings)
        headers = {
            "content-type": "application/json",
            "user-agent": "stt-batch",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            # Each attempt has its own signature: receivers refuse old timestamps, as protection against replayed
            # requests.
            "webhook-signature": signature(self._keys, message_id, int(now), body),
        }
        timeout = aiohttp.ClientTimeout(total=self._settings.webhook_timeout_s)
        try:
            async with guarded_session(timeout, self._settings, self._tls) as session:
                response = await session.request("POST", url, route, may_be_private=private, headers=headers, data=body)
                response.close()  # closed without reading the body
                # A proxy forwards only requests without TLS. Any other 407 is an answer of the receiver.
                forwarded = route.proxy is not None and not route.proxy.is_socks and url.scheme == "http"
                if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and forwarded:
                    return SendResult(False, proxy_refusal(response.status, "", route, url.host))
                return _result_of(response.status, response.headers.get("Retry-After", ""), now)
        except PrivateHost:
            return SendResult(False, private_webhook_reason(url), final=True)
        except aiohttp.InvalidURL:
            return SendResult(False, f"{url}: is not a valid address", final=True)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, SettingsError) as exc:
            return SendResult(False, self._reason(exc, route, url), timed_out=isinstance(exc, TimeoutError))

    def _allowed_route(self, url: Address) -> Route | SendResult:
        """Return the route to the receiver. If the receiver must not or cannot be reached, return the failure."""
        # Checked again at each attempt, not only at the submission: the allow-list of this worker may have changed
        # since.
        try:
            check_webhook(url, self._settings)
            route = route_to(url, self._settings)
        except BadJob as exc:
            return SendResult(False, str(exc), final=True)
        except ProxyUnusable as exc:
            return SendResult(False, str(exc))
        # A proxy resolves the host name itself, so this worker cannot check the IP address.
        if route.proxy is not None and not self._settings.allowed_webhooks.strip():
            return SendResult(False, _through_proxy(url, route), final=True)
        return route

    def _reason(self, exc: BaseException, route: Route, url: Address) -> str:
        cause = named_cause(exc, route, url.host)
        if cause is not None:
            return cause[:300]
        if isinstance(exc, TimeoutError):
            return f"no answer within {self._settings.webhook_timeout_s:g} s"
        if isinstance(exc, aiohttp.ClientConnectorError):
            return f"cannot be reached: {exc.os_error.strerror or exc.os_error}"[:300]
        return scrub(" ".join(str(exc).split()))[:300] or type(exc).__name__


def _through_proxy(url: Address, route: Route) -> str:
    return (
        f"{url}: is reached through a proxy ({route.variable}), where only its name can be checked; name the hosts"
        " that may get webhooks in STT_ALLOWED_WEBHOOKS, or this one in NO_PROXY"
    )


def _result_of(status: int, retry_after: str, now: float) -> SendResult:
    """Return the result for an HTTP status. `retry_after`: the header of the response, or empty."""
    if 200 <= status < 300:
        return SendResult(True)
    if 300 <= status < 400:
        return SendResult(
            False,
            f"HTTP {status}: the address redirects, and webhooks do not follow redirects; use the new address",
        )
    # Standard Webhooks defines 410 as the request to send no more.
    if status == HTTPStatus.GONE:
        return SendResult(False, "HTTP 410: the receiver wants no more webhooks", final=True)
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return SendResult(False, "HTTP 407: the receiver answered as a proxy that requires a login; check its address")
    pause_s = retry_after_s({"Retry-After": retry_after}, datetime.fromtimestamp(now, UTC), MAX_RETRY_AFTER_S)
    return SendResult(False, f"HTTP {status}", pause_s=pause_s or 0.0)


__all__ = ["MAX_BODY_BYTES", "SendResult", "WebhookSender", "signature", "signing_keys"]
