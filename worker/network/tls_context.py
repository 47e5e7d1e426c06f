"""Creates TLS contexts: which certificate authorities are trusted, and the client certificate for the service.

SSL_CERT_FILE or SSL_CERT_DIR replace the system's list of authorities. OpenSSL ignores a file that does not exist, so
this module checks that the file exists. STT_CA_FILE adds authorities, for example the one of a proxy that inspects TLS.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path

from worker.errors import SettingsError
from worker.settings import Settings


def client_context(settings: Settings, *, for_service: bool = False) -> ssl.SSLContext:
    """Return the context for connections to servers. `for_service`: whether the context contains the client certificate
    of the settings, which only the service may receive. Raises SettingsError for a file that cannot be used.

    The context is cached until one of its files changes."""
    certificate = (settings.client_cert_file, settings.client_key_file) if for_service else ("", "")
    system = tuple(os.environ.get(name, "") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    files = (settings.ca_file, *certificate, *system)
    return _context(settings.ca_file, *certificate, tuple(_changed_at(file) for file in files), system)


def describe_trust(settings: Settings) -> str:
    """Return which certificate authorities are trusted, for people."""
    of_variable = next((f"those of {n}={v}" for n in ("SSL_CERT_FILE", "SSL_CERT_DIR") if (v := os.environ.get(n))), "")
    added = f", and those of STT_CA_FILE={settings.ca_file}" if settings.ca_file else ""
    return f"{of_variable or 'those of the system'}{added}"


@lru_cache(maxsize=8)
def _context(ca_file: str, cert_file: str, key_file: str, _changes: object, _system: object) -> ssl.SSLContext:
    bundle = os.environ.get("SSL_CERT_FILE", "")
    if bundle:
        _check(bundle, "SSL_CERT_FILE")
    # This reads SSL_CERT_FILE and SSL_CERT_DIR itself.
    context = ssl.create_default_context()
    if ca_file:
        _check(ca_file, "STT_CA_FILE")
        context.load_verify_locations(cafile=ca_file)
    if cert_file:
        try:
            context.load_cert_chain(cert_file, key_file or None, password=_no_passphrase)
        except OSError as exc:
            raise SettingsError(_certificate_problem(exc, cert_file, key_file)) from None
    return context


def _check(file: str, variable: str) -> None:
    """Raise SettingsError if `file` contains no certificate."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except OSError as exc:  # includes SSLError
        reason = "contains no certificate in PEM form" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise SettingsError(f"{variable}: {file}: {reason}") from None


def _no_passphrase() -> str:
    # Without this function OpenSSL would ask for the passphrase on the terminal and block the process.
    raise PermissionError("its key is protected by a passphrase; save it without one")


def _certificate_problem(exc: OSError, cert_file: str, key_file: str) -> str:
    names = "STT_CLIENT_CERT_FILE" + (" and STT_CLIENT_KEY_FILE" if key_file else "")
    files = f"{cert_file}{f' and {key_file}' if key_file else ''}"
    if isinstance(exc, PermissionError) and exc.errno is None:
        return f"{names}: {files}: {exc}"
    if isinstance(exc, ssl.SSLError):
        mismatch = exc.reason == "KEY_VALUES_MISMATCH"
        reason = "the key does not belong to the certificate" if mismatch else "no certificate with its key in PEM form"
        return f"{names}: {files}: {reason}"
    return f"{names}: {files}: {exc.strerror}"


def _changed_at(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns if file else 0
    except OSError:
        return -1
