"""Parses the header `Retry-After` (RFC 9110): seconds, or an HTTP date. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S: Final = 600.0
"""Longest pause that the real-time service can demand, in seconds; a longer one is shortened to this."""
_MAX_CHARACTERS: Final = 64


def retry_after_s(
    headers: Mapping[str, str], now: datetime | None = None, max_s: float = MAX_RETRY_AFTER_S
) -> float | None:
    """Return the seconds that a server demands until the next request, at most `max_s`, or None without a valid header.

    A date is compared with the header `Date` of the same response, so that a wrong clock of this machine has no effect.
    If the response has no header `Date`, the date is compared with `now` (default: the clock of this machine)."""
    value = (headers.get("Retry-After") or "").strip()[:_MAX_CHARACTERS]
    if (seconds := seconds_of(value, max_s)) is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    start = _date((headers.get("Date") or "").strip()[:_MAX_CHARACTERS]) or now or datetime.now(UTC)
    return min(max(0.0, (until - start).total_seconds()), max_s)


def seconds_of(text: str, max_s: float = MAX_RETRY_AFTER_S) -> float | None:
    """Parse a number of seconds and return it, at most `max_s`. Returns None for any other text."""
    if not re.fullmatch(r"[0-9]{1,40}(\.[0-9]{1,20})?", text):
        return None
    return min(float(text), max_s)


def _date(text: str) -> datetime | None:
    # A date without the name of a weekday, or any other text, is no HTTP date: the parser of e-mail accepts too much.
    if not re.match(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)", text):
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


__all__ = ["MAX_RETRY_AFTER_S", "retry_after_s", "seconds_of"]
