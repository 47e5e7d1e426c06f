"""Shows how the service, downloads and webhooks are reached: directly or through a proxy, and with which trusted
certificates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tasks.doctor.finding import Finding, fail, ok, warn
from worker.errors import SettingsError
from worker.network.proxy_choice import ProxyUnusable, Route, choose_route
from worker.network.tls_context import client_context, describe_trust
from worker.secret_masking import show_url
from worker.service_url import parse_service_url
from worker.settings import Settings

_ANY_HOST: Final = "host.invalid"
"""Stands for the hosts of downloads and webhooks, which are not known here."""


def of_network(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Return findings about proxies and certificates. Opens no connection."""
    found = [*_of_service(settings, environ), *_of_others(settings, environ)]
    try:
        client_context(settings, for_service=True)
    except SettingsError as exc:
        found.append(fail("network", str(exc), "name a readable file in PEM form"))
    else:
        text = f"trusted certificate authorities: {describe_trust(settings)}"
        if settings.client_cert_file:
            text += f"; client certificate for the service: {settings.client_cert_file}"
        found.append(ok("network", text))
    return found


def _of_service(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    if not settings.url:
        return []
    at = parse_service_url(settings.url, "")
    try:
        route = choose_route(at.scheme, at.host, at.port, settings, environ)
    except ProxyUnusable as exc:
        return [fail("network", f"{show_url(settings.url)}: {exc}", "correct the address of the proxy")]
    return [ok("network", f"{show_url(settings.url)}: {route}")]


def _of_others(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Return findings about the hosts that jobs name."""
    try:
        routes = {scheme: choose_route(scheme, _ANY_HOST, 0, settings, environ) for scheme in ("https", "http")}
    except ProxyUnusable as exc:
        return [fail("network", f"downloads and webhooks: {exc}", "correct the address of the proxy")]
    shown = "; ".join(f"{scheme}:// {route}" for scheme, route in routes.items())
    found = [ok("network", f"downloads and webhooks: {shown}")]
    if not any(route.proxy for route in routes.values()):
        return found
    unlisted = [
        name
        for name, listed in (
            ("STT_ALLOWED_SOURCES", settings.allowed_sources),
            ("STT_ALLOWED_WEBHOOKS", settings.allowed_webhooks),
        )
        if not listed.strip()
    ]
    if unlisted:
        text = f"the proxy is not used for hosts of jobs without {' and '.join(unlisted)}, so those jobs fail"
        found.append(warn("network", text, "list the allowed hosts, or set NO_PROXY"))
    if settings.proxy and not _stores_use(environ, routes):
        found.append(warn("network", "object stores and traces do not use STT_PROXY", "set HTTPS_PROXY for them"))
    return found


def _stores_use(environ: Mapping[str, str], routes: Mapping[str, Route]) -> bool:
    names = ("HTTPS_PROXY", "ALL_PROXY")
    return routes["https"].proxy is None or any(environ.get(n) or environ.get(n.lower()) for n in names)
