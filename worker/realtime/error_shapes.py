"""Reads the names and the text of an error from the JSON of a service, whatever its structure. No I/O.

Known structures: `{error: {code, message}}`, `{message}`, `{detail: {status, message}}`, `{message_type: "error",
error: "quota_exceeded"}`, `{errors: [...]}`, `{message, data: {...}}` (Socket.IO), and plain strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from worker.realtime.error_table import KIND_OF_NAME, known_name, name_in, status_of
from worker.text_escaping import UNPRINTABLE

MAX_TEXT: Final = 300
"""Maximum characters of the service's own text in a message."""
# A service may send a payload of any depth and length; an error text needs only a part of it.
_MAX_DEPTH: Final = 6
_MAX_ITEMS: Final = 20
_NAME_FIELDS: Final = (
    *(
        "code",
        "error_code",
        "errorCode",
        "status",
        "statusCode",
        "status_code",
        "httpStatus",
        "http_status",
        "httpCode",
    ),
    *("http_code", "type", "error_type", "name", "kind", "message_type"),
)
_TEXT_FIELDS: Final = (
    *("message", "error", "detail", "details", "error_description", "description", "msg", "reason", "title", "text"),
    *("errors", "data", "body", "cause"),
)
_EMPTY_NAMES: Final = frozenset({"error", "errors", "fail", "failed", "failure", "exception", "unknown"})


@dataclass(slots=True)
class ErrorFacts:
    """The contents of an error. `names`: values of the fields that name the error; `texts`: sentences for people."""

    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    retry_after: str = ""

    @property
    def text(self) -> str:
        """The sentences, preceded by the names that they do not contain. The text may be long and may contain control
        characters."""
        texts = list(dict.fromkeys(text.strip() for text in self.texts if text.strip()))
        all_text = " ".join(texts).lower()
        names = [n for n in dict.fromkeys(self.names) if n.lower() not in _EMPTY_NAMES and n.lower() not in all_text]
        return ": ".join(part for part in (" ".join(names), "; ".join(texts)) if part)

    @property
    def name(self) -> str | None:
        """The most specific error name that is in `error_table`, from a field or from the words of the texts."""
        fields = [name for word in self.names if (name := known_name(word))]
        words = [name for text in self.texts if (name := name_in(text))]
        specific = [name for name in (*fields, *words) if name in KIND_OF_NAME]
        # `error` is the name of every error, so any other name says more.
        return next(iter((*specific, *(name for name in (*fields, *words) if name != "error"), *fields, *words)), None)

    @property
    def status(self) -> int | None:
        """The HTTP status that a field contains as a number or as text, or the beginning of a text."""
        starts = (text.split(": ", 1)[0] for text in self.texts)
        return next((status for word in (*self.names, *starts) if (status := status_of(word)) is not None), None)


def read_error(payload: object) -> ErrorFacts:
    """Read the names and texts of an error. A payload of unknown fields becomes its JSON text."""
    facts = ErrorFacts()
    _read(payload, facts, _MAX_DEPTH)
    if not facts.names and not facts.texts and payload not in (None, "", {}, []):
        facts.texts.append(_dump(payload))
    return facts


def shown_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text of the service as one line of at most `limit` characters, without control characters. The caller
    must mask the secrets in the text before this call, because a secret that was cut off cannot be recognized."""
    line = " ".join(UNPRINTABLE.sub(" ", text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _read(value: object, facts: ErrorFacts, depth: int) -> None:
    if depth == 0:
        return
    if isinstance(value, str):
        facts.texts.append(value)
    elif status_of(value) is not None:
        facts.names.append(str(value))
    elif isinstance(value, Mapping):
        _read_fields(value, facts, depth)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value[:_MAX_ITEMS]:
            _read(item, facts, depth - 1)


def _read_fields(fields: Mapping[object, object], facts: ErrorFacts, depth: int) -> None:
    for name in _NAME_FIELDS:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            # A field such as `status` may contain a sentence.
            (facts.names if re.fullmatch(r"[\w.\- ]{1,64}", value.strip()) else facts.texts).append(value.strip())
        elif isinstance(value, Mapping | int | float):
            _read(value, facts, depth - 1)
    for name in _TEXT_FIELDS:
        value = fields.get(name)
        if name == "error" and isinstance(value, str) and known_name(value):
            facts.names.append(value.strip())
        elif value is not None:
            _read(value, facts, depth - 1)
    for name in ("retry_after", "retryAfter", "retry-after"):
        value = fields.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            facts.retry_after = str(value)


def _dump(payload: object) -> str:
    try:
        return json.dumps(payload, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return type(payload).__name__


__all__ = ["MAX_TEXT", "ErrorFacts", "read_error", "shown_text"]
