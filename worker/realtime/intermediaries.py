"""Recognizes responses of intermediaries (proxies, firewalls, CDNs) that answer instead of the service. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Final

from worker.realtime.error_shapes import shown_text

_INTERMEDIARY_HEADERS: Final = ("cf-mitigated", "x-squid-error", "x-amzn-waf-action", "x-sucuri-id", "proxy-status")
"""Headers that only an intermediary adds, and only to its own responses. `cf-ray` is also in the responses of a service
behind Cloudflare, so it counts only for a body that is not JSON."""


def is_from_intermediary(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the status or a header shows that an intermediary made the response. `headers`: names in lower case."""
    return any(name in headers for name in _INTERMEDIARY_HEADERS) or status == 407


def is_error_of_cdn(headers: Mapping[str, str], text: str) -> bool:
    """Whether a response whose body is not JSON comes from Cloudflare."""
    return "cf-ray" in headers or re.match(r"\s*error code: \d{4}", text) is not None


def is_html(headers: Mapping[str, str], body: str) -> bool:
    """Whether the body of a response is an HTML page, which the API never sends."""
    start = body.lstrip()[:200].lower()
    if start.startswith(("<!doctype", "<html", "<head", "<body")):
        return True
    # Engine.IO's own server names a refused websocket HTML although its body is plain text.
    plain = bool(start) and "<" not in start
    return "html" in headers.get("content-type", "").lower() and not plain


def page_title(page: str) -> str:
    """Return the title of an HTML page in parentheses. A page without a title gives its first words, an empty page
    gives ""."""
    # Only the start of the page, because a page may have any length.
    title = re.search(r"<title[^>]{0,100}>(.{1,1000}?)</title", page[:20_000], re.IGNORECASE | re.DOTALL)
    if title:
        text = title[1]
    else:
        text = re.sub(r"<(script|style)\b.*?</\1\s*>", " ", page[:4000], flags=re.IGNORECASE | re.DOTALL)
        text = re.sub(r"<[^>]*>", " ", text)
    text = shown_text(unescape(text), 120)
    return f" ({text})" if text else ""
