"""The next step after a failure, for lists of failed files. No I/O.

Most error texts end with their remedy, after a semicolon. Others only have a reason, because workers also write it to
logs and records. For these, the remedy of their error code is added where people read them.
"""

from __future__ import annotations

import re
from typing import Final

_BY_CODE: Final = {
    "source": "check the file",
    "source_not_found": "check its name and place",
    "source_refused": "check its permissions and the settings STT_ALLOWED_… and STT_SOURCE_MAX_…",
    "source_unavailable": "run the same command again",
    "source_replaced": "run the same command again when the file is complete",
    "source_changed": "run the same command again",
    "source_unsupported": "convert it to WAV or FLAC",
    "source_damaged": "fetch or export the file again",
    "source_channel": "choose another --channels",
    "source_track": "choose another --track",
    "endpoint": "check the service and STT_URL",
    "auth_refused": "correct STT_API_KEY",
    "access_refused": "check the key and its account at the service",
    "permission_refused": "give the key the permission at the service",
    "account_refused": "check the account at the service",
    "request_refused": "check the options of the job",
    "protocol_refused": "check the path of STT_URL",
    "endpoint_moved": "set STT_URL to the new address",
    "endpoint_unavailable": "run the same command again later",
    "endpoint_busy": "run the same command again later",
    "session_lost": "run the same command again",
    "session_stalled": "run the same command again",
    "output": "check the output folder",
    "output_unavailable": "free some disk space and run the same command again",
    "worker_shortage": "run fewer --sessions",
    "incomplete": "run the same command again to transcribe the missing parts",
    "expired": "run the same command again",
    "cancelled": "run the same command again to continue",
}


_IN_BRACKETS: Final = re.compile(r"\((?:[^()]|\([^()]*\))*\)")
"""A part of a reason, such as the answers of several decoders, which semicolons separate."""


_MISSING: Final = " missing: "
_UNDECODED: Final = f"{_MISSING}could not be decoded"


def with_remedy(code: str, text: str) -> str:
    """Return an error text with a remedy: its own after a semicolon, or that of its error code."""
    if code == "incomplete" and 0 < text.count(_MISSING) == text.count(_UNDECODED):
        # Another run would only stream the same audio again.
        return f"{text}; {_BY_CODE['source_damaged']}"
    remedy = _BY_CODE.get(code)
    # The reason of an incomplete file lists its missing parts with semicolons.
    if remedy is None or ("; " in _IN_BRACKETS.sub("", text) and code != "incomplete"):
        return text
    return f"{text}; {remedy}"
