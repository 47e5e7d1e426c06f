"""Masks secrets in text that enters or leaves the process.

A service may echo the key, and an HTTP library may quote an address with its password. Such text would reach the
ledger, transcripts, logs and the screen, so it is masked where it enters the process, and again in every log line.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from pydantic import SecretStr

from worker.errors import SettingsError
from worker.http_keys import split_keys
from worker.secret_files import read
from worker.settings import Settings

MASK: Final = "***"
MIN_CHARACTERS: Final = 4
"""Minimum length of a secret that is masked: a shorter one would mask parts of ordinary words."""
MIN_SPEECH_CHARACTERS: Final = 12
"""Minimum length of a secret that is masked in transcribed text; it must also not consist of letters alone."""
# Matches the names of environment variables from which libraries for storage, proxies and traces read secrets.
_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:SECRET|PASSWORD|PASSWD|PASSPHRASE|TOKEN|SIGNATURE|CREDENTIALS?|AUTH"
    r"|(?:API|ACCESS|ACCOUNT|PRIVATE|SECRET|STORAGE|SHARED|ENCRYPTION|SIGNING)_?KEY|SAS_KEY|SAS|CONNECTION_STRING"
    r"|SERVICE_ACCOUNT_KEY|SECRET_ACCESS_KEY|SESSION_TOKEN)$",
    re.IGNORECASE,
)
_SECRET_PARAMETER: Final = re.compile(
    r"secret|passw|pwd|token|sign|\bsig\b|credential|auth|key|session|jwt|code|^pass$", re.IGNORECASE
)
# OpenTelemetry headers, `name=value` pairs that may contain a key.
_HEADERS_NAME: Final = re.compile(r"^OTEL_EXPORTER_OTLP(?:_[A-Z]+)?_HEADERS$")
_USER_IN_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://([^/\s@:]*):([^/\s]*)@")
_TOKEN_IN_URL: Final = re.compile(r"://([^/\s@:]+):?@")
# Secrets inside the value of a variable, such as a connection string of Azure or a JSON service account.
_PARTS: Final = re.compile(
    r"(?:AccountKey|SharedAccessKey|SharedAccessSignature|sig|private_key)[\"']?\s*[=:]\s*[\"']?([^;&\"']+)"
)


class Masker:
    """Replaces a fixed set of secrets by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= MIN_CHARACTERS}
        self._pattern = _pattern(form for secret in known for form in _forms(secret))
        self._speech = _pattern(secret for secret in known if _cannot_be_spoken(secret))

    def text(self, text: str) -> str:
        """Mask the secrets in an error, a log line or an address."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def speech(self, text: str) -> str:
        """Mask the secrets in transcribed text. Short secrets and secrets of letters only are not masked, because they
        may be spoken words."""
        return self._speech.sub(MASK, text) if self._speech else text


RECENT_S: Final = 1.0
"""Seconds for which a masker is used without searching for secrets again."""
_MAX_RECENT: Final = 8
_recent: Final[dict[int, tuple[Settings, float, Masker]]] = {}
"""The last maskers by the identity of their settings, with the monotonic time until which they are used."""


def masker_of(settings: Settings) -> Masker:
    """Return the masker for the secrets in the settings and in this process's environment. Files with secrets, which
    other programs may replace, are read again after RECENT_S."""
    now = time.monotonic()
    found = _recent.get(id(settings))
    # The search takes 1 ms with 60 variables, twice for each job: 5 % of the CPU time of a job of 10 s.
    if found is None or found[0] is not settings or found[1] <= now:
        if len(_recent) >= _MAX_RECENT:
            _recent.clear()
        found = _recent[id(settings)] = settings, now + RECENT_S, _masker(secrets_of(settings))
    return found[2]


@lru_cache(maxsize=8)
def _masker(secrets: tuple[str, ...]) -> Masker:
    return Masker(secrets)


def secrets_of(settings: Settings, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return all secrets in the settings and in `environ` (default: the environment of this process), longest first."""
    found = {*_of_settings(settings), *_of_environment(os.environ if environ is None else environ)}
    return tuple(sorted((text for text in found if len(text) >= MIN_CHARACTERS), key=lambda text: (-len(text), text)))


def _of_settings(settings: Settings) -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            yield from (text, *(part.strip() for part in text.split(",")))
            if name == "http_keys":
                yield from (key for _, _, key in split_keys(text))
        elif isinstance(value, str) and ("://" in value or name == "proxy"):
            yield from _in_url(value)
            if name in ("url", "proxy"):
                yield from _token_in_url(value)
                yield from _query_of(value)


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if _HEADERS_NAME.match(name):
            for pair in value.split(","):
                given = unquote(pair.partition("=")[2]).strip()
                yield from (given, given.rpartition(" ")[2])
        elif name.endswith("_FILE") and _SECRET_NAME.search(name.removesuffix("_FILE")):
            yield _content_of(value)
        elif _SECRET_NAME.search(name):
            yield value
            yield from (part.strip() for part in _PARTS.findall(value))
        proxy = name.lower().endswith("_proxy") and name.lower() != "no_proxy"
        if "://" in value or proxy:
            yield from _in_url(value)
        if proxy:
            yield from _token_in_url(value)


def _content_of(file: str) -> str:
    """Return the secret in a file that a library reads. Returns "" if the file cannot be read; the library reports that
    error."""
    try:
        return read(file, "")
    except SettingsError:
        return ""


def show_url(url: str) -> str:
    """Return the address of a service for records and messages, without user, password, query and fragment."""
    start, slashes, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{start}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def _in_url(text: str) -> Iterator[str]:
    """Yield the passwords in an address, also as a library encodes them for the header of HTTP basic authentication.

    An address of a proxy may have no scheme."""
    text = text if "://" in text else f"http://{text}"
    for user, password in _USER_IN_URL.findall(text):
        yield from (password, unquote(password))
        yield base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    try:
        password = urlsplit(text).password or ""
    except ValueError:
        return
    yield from (password, unquote(password))


def _token_in_url(text: str) -> Iterator[str]:
    """Yield the user name in an address that has no password. Such a user name is usually a token."""
    found = _TOKEN_IN_URL.search(text if "://" in text else f"http://{text}")
    if found is not None:
        user = unquote(found[1])
        yield from (user, base64.b64encode(f"{user}:".encode()).decode())


def _query_of(text: str) -> Iterator[str]:
    """Yield the values in the query of an address that may be secrets: by their name, or because they look random."""
    query = text.partition("#")[0].partition("?")[2]
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        random = len(value) >= MIN_SPEECH_CHARACTERS and any(c.isdigit() for c in value)
        if random or _SECRET_PARAMETER.search(unquote(name)):
            yield from (value, unquote(value), unquote_plus(value))


def _forms(secret: str) -> Iterator[str]:
    """Yield the spellings of a secret: plain, escaped for JSON, and escaped for an address."""
    yield from (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe=""))


def _cannot_be_spoken(secret: str) -> bool:
    return len(secret) >= MIN_SPEECH_CHARACTERS and not secret.replace(" ", "").isalpha()


def _pattern(forms: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(set(forms), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


__all__ = ["MASK", "Masker", "masker_of", "secrets_of", "show_url"]
