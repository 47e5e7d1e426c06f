"""Names the causes of failed connections that users can remove: certificates, TLS and proxies. No I/O."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import aiohttp
import aiohttp_socks

from worker.network.proxy_choice import ProxyUnusable, Route

_EXPIRED, _NOT_YET_VALID = 10, 9
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
_OTHER_HOST: Final = frozenset({62, 64})
"""Error numbers of OpenSSL (X509_V_ERR_…)."""
_CLIENT_CERTIFICATE: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "UNSUPPORTED_CERTIFICATE")
"""Endings of the TLS alerts with which a server refuses the client's certificate, or its absence."""
_LOGIN_STATUSES: Final = (HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.UNAUTHORIZED)
"""Statuses with which a proxy refuses a login. tinyproxy answers 401 to a wrong one."""
_LOGIN_WORD: Final = "authentication"
"""Part of the texts with which the SOCKS library reports a refused or missing login."""


def named_cause(exc: BaseException, route: Route, host: str) -> str | None:
    """Return the cause of a failed connection with its remedy, or None if no remedy is known. `host`: the host to which
    the connection was opened."""
    # The proxy is checked first, because an untrusted certificate of the proxy must not be reported as one of the
    # service.
    return _proxy_problem(exc, route, host) or certificate_problem(exc)


def certificate_problem(exc: BaseException) -> str | None:
    """Return the problem of a certificate or of TLS with its remedy, or None if `exc` is something else."""
    for found in chain(exc):
        # aiohttp stores the error of OpenSSL in one of these attributes.
        error = getattr(found, "certificate_error", None) or getattr(found, "os_error", None) or found
        if isinstance(error, ssl.SSLCertVerificationError):
            return _verification_problem(error)
        if isinstance(error, ssl.SSLError):
            return _tls_problem(error)
    return None


def _verification_problem(exc: ssl.SSLCertVerificationError) -> str:
    code, said = exc.verify_code, exc.verify_message
    if code == _EXPIRED:
        return "its certificate has expired; renew it at the server, or check the clock of this machine"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet; check the clock of this machine"
    if code in _OTHER_HOST:
        return f"its certificate is for another host ({said}); use the name that the certificate contains"
    if code in _UNKNOWN_ISSUER:
        return (
            f"its certificate is not trusted: {said}; if it is your own server, or a proxy that inspects TLS, name"
            " the PEM file of its certificate authority in STT_CA_FILE"
        )
    return f"its certificate is not valid ({said})"


def _tls_problem(exc: ssl.SSLError) -> str | None:
    reason = exc.reason or ""
    if reason.endswith(_CLIENT_CERTIFICATE) and "ALERT" in reason:
        return f"it requires another client certificate ({reason}); see STT_CLIENT_CERT_FILE"
    # OpenSSL reads an answer without TLS as a TLS record. The reason depends on the first bytes of the answer.
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return "it does not speak TLS at this port; use http://, or another port"
    return f"TLS failed ({reason})" if reason else None


def _proxy_problem(exc: BaseException, route: Route, host: str) -> str | None:
    for error in chain(exc):
        if isinstance(error, ProxyUnusable):
            return str(error)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return proxy_refusal(error.status, error.message, route, host)
        if isinstance(error, aiohttp_socks.ProxyError):
            return _tunnel_refusal(error, route, host)
        if isinstance(error, aiohttp.ClientConnectorError) and _is_the_proxy(error, route):
            inner = certificate_problem(error)
            reason = inner or f"cannot be reached: {error.os_error.strerror or error.os_error}"
            return f"the proxy {route.proxy} ({route.variable}): {reason}"
        if isinstance(error, aiohttp_socks.ProxyConnectionError | aiohttp_socks.ProxyTimeoutError):
            reason = _strerror(error)
            return f"the proxy {route.proxy} ({route.variable}): cannot be reached: {reason}"
    return None


def proxy_refusal(status: int, said: str, route: Route, host: str) -> str:
    """Explain the HTTP status with which a proxy refused a request or a tunnel. Returns a text for the user."""
    if route.proxy is None:
        return (
            f"a proxy on the way requires a login (HTTP {status}); set STT_PROXY to its address with user and password"
        )
    proxy = f"the proxy {route.proxy} ({route.variable})"
    text = f"HTTP {status}{f' {said}' if said else ''}"
    if status in _LOGIN_STATUSES:
        return _login_problem(route, text)
    # The proxy accepts the request, but cannot resolve or reach the host.
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.NOT_FOUND:
        return f"{proxy} cannot reach {host} ({text})"
    return f"{proxy} refuses connections to {host} ({text}); its administrator must allow them, or use NO_PROXY"


def is_refused_login(exc: BaseException) -> bool:
    """Whether a proxy refused the login when a tunnel was opened."""
    for error in chain(exc):
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return error.status in _LOGIN_STATUSES
        if isinstance(error, aiohttp_socks.ProxyError):
            text = str(error).lower()
            return error.error_code in _LOGIN_STATUSES or _LOGIN_WORD in text
    return False


def unclear_login(route: Route) -> str:
    """Return the error text for an HTTP 401 that either the service or the proxy may have sent, because the proxy
    forwards the requests."""
    return (
        f"HTTP 401 from the service or from the proxy {route.proxy}: check STT_API_KEY, and the login of the proxy in"
        f" {route.variable}"
    )


def _login_problem(route: Route, text: str) -> str:
    given = route.proxy is not None and bool(route.proxy.user or route.proxy.password)
    need = "check its user and password" if given else "give it as http://user:password@host:port"
    what = "refuses the login" if given else "requires a login"
    return f"the proxy {route.proxy} {what} ({text}): {need} in {route.variable}"


def _tunnel_refusal(exc: aiohttp_socks.ProxyError, route: Route, host: str) -> str:
    """Explain why a proxy refused a tunnel: a SOCKS proxy, or an HTTP proxy with the method CONNECT. Returns a text for
    the user."""
    text = " ".join(str(exc).split())[:200]
    if route.proxy is not None and not route.proxy.is_socks and isinstance(exc.error_code, int):
        return proxy_refusal(exc.error_code, text.removeprefix(str(exc.error_code)).strip(), route, host)
    if _LOGIN_WORD in text.lower():
        return _login_problem(route, text)
    return f"the proxy {route.proxy} ({route.variable}) cannot reach {host} ({text})"


def _is_the_proxy(exc: aiohttp.ClientConnectorError, route: Route) -> bool:
    return route.proxy is not None and (exc.host, exc.port) == (route.proxy.host, route.proxy.port)


def _strerror(exc: BaseException) -> str:
    for error in chain(exc):
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
    return "no answer in time" if isinstance(exc, TimeoutError) else " ".join(str(exc).split())[:200]


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and all its causes."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
