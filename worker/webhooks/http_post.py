"""One HTTP POST that tells a receiver what ended, signed so that it can be checked.

Headers and signature are those of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), for which there are
libraries in every language: `webhook-id`, the same at every attempt; `webhook-timestamp`, Unix seconds of the attempt;
`webhook-signature`, `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, once for each secret.

The receiver is somebody else's choice: private addresses are refused unless the settings name them, after the name was
resolved and for the very address that is connected to; redirects are not followed; the answer's body is not read.
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
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from worker.errors import BadJob, SettingsError
from worker.settings import Settings
from worker.storage.access_policy import check_webhook, private_webhook_reason, webhook_may_be_private
from worker.storage.address import Address, scrub
from worker.storage.guarded_http import PrivateHost, guarded_session, proxy_of

MIN_SECRET_BYTES: Final = 24
"""Bytes of a secret, as the specification asks."""
MAX_BODY_BYTES: Final = 65_536
"""Of a body that is sent."""
MAX_RETRY_AFTER_S: Final = 3600.0
"""Longest pause a receiver may ask for."""
_PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True)
class SendResult:
    """What came of one attempt."""

    delivered: bool
    reason: str = ""
    """Why it was not delivered, for people."""
    final: bool = False
    """Another attempt can only end in the same way."""
    pause_s: float = 0.0
    """What the receiver asks to wait, in seconds."""


def signing_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of STT_WEBHOOK_SECRET, the newest first; none when it is empty. Raises SettingsError."""
    texts = [text for text in re.split(r"[,\s]+", settings.webhook_secret.get_secret_value()) if text]
    keys = tuple(_key(text) for text in texts)
    if any(len(key) < MIN_SECRET_BYTES for key in keys):
        raise SettingsError(
            f"STT_WEBHOOK_SECRET: has less than {MIN_SECRET_BYTES} bytes; make one with: "
            "python3 -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
        )
    return keys


def _key(text: str) -> bytes:
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise SettingsError("STT_WEBHOOK_SECRET: what follows whsec_ is not base64") from None


def signature(keys: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    made = (base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)
    return " ".join(f"v1,{text}" for text in made)


class WebhookSender:
    """Sends webhooks; belongs to one event loop."""

    def __init__(self, settings: Settings, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: whom to trust; None for the certificates of the system. Raises SettingsError for a bad secret."""
        self._settings = settings
        self._keys = signing_keys(settings)
        self._tls = tls if tls is not None else ssl.create_default_context()

    @property
    def signs(self) -> bool:
        """Whether there is a secret. Without one nothing is sent: what is not signed proves nothing."""
        return bool(self._keys)

    async def send(self, url: Address, message_id: str, body: bytes, now: float) -> SendResult:
        """One attempt, within STT_WEBHOOK_TIMEOUT_S. `now`: seconds since 1970, which are signed."""
        try:
            check_webhook(url, self._settings)
            private = webhook_may_be_private(url, self._settings)
            if not self._settings.allowed_webhooks.strip() and proxy_of(url) is not None:
                return SendResult(False, _through_proxy(url), final=True)
        except BadJob as exc:
            return SendResult(False, str(exc), final=True)
        headers = {
            "content-type": "application/json",
            "user-agent": "stt-batch",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": signature(self._keys, message_id, int(now), body),
        }
        timeout = aiohttp.ClientTimeout(total=self._settings.webhook_timeout_s)
        try:
            async with guarded_session(timeout, self._tls) as session:
                response = await session.request("POST", url, may_be_private=private, headers=headers, data=body)
                answer = _result_of(response.status, response.headers.get("Retry-After", ""), now)
                response.close()  # whatever it says beyond that is not read
                return answer
        except PrivateHost:
            return SendResult(False, private_webhook_reason(url), final=True)
        except aiohttp.InvalidURL:
            return SendResult(False, f"{url}: is not an address", final=True)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            return SendResult(False, self._reason(exc))

    def _reason(self, exc: BaseException) -> str:
        if isinstance(exc, TimeoutError):
            return f"no answer within {self._settings.webhook_timeout_s:g} s"
        if isinstance(exc, aiohttp.ClientConnectorCertificateError):
            return f"its certificate is not trusted: {exc.certificate_error}"[:300]
        if isinstance(exc, aiohttp.ClientConnectorError):
            return f"cannot be reached: {exc.os_error.strerror or exc.os_error}"[:300]
        return scrub(" ".join(str(exc).split()))[:300] or type(exc).__name__


def _through_proxy(url: Address) -> str:
    return (
        f"{url}: is reached through a proxy of the environment, where only its name can be checked; name the hosts"
        " that may get webhooks in STT_ALLOWED_WEBHOOKS, or this one in NO_PROXY"
    )


def _result_of(status: int, retry_after: str, now: float) -> SendResult:
    if 200 <= status < 300:
        return SendResult(True)
    if 300 <= status < 400:
        return SendResult(False, f"HTTP {status}: leads elsewhere, which is not followed; name the new address")
    if status == HTTPStatus.GONE:
        return SendResult(False, "HTTP 410: the receiver wants no more webhooks", final=True)
    return SendResult(False, f"HTTP {status}", pause_s=_asked_s(retry_after, now))


def _asked_s(retry_after: str, now: float) -> float:
    """Seconds of a Retry-After header: a number, or a date."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        ahead_s = (at - datetime.fromtimestamp(now, UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return min(max(0.0, ahead_s), MAX_RETRY_AFTER_S)


__all__ = ["MAX_BODY_BYTES", "SendResult", "WebhookSender", "signature", "signing_keys"]
