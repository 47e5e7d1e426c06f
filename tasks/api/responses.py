"""Descriptions of responses for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from tasks.api.problems import MEDIA_TYPE

_TEXTS: Final = {
    400: "The request cannot be read",
    401: "No key, or a key that is not accepted",
    403: "The key or the settings of the server do not allow this",
    404: "There is no such job, batch or path, or the key does not see it",
    406: "None of the accepted media types is available",
    408: "The request arrived too slowly",
    409: "The state of the job does not allow this",
    412: "The transcript has another version than If-Match names",
    413: "The request or the audio is too large",
    415: "The Content-Type is not supported",
    416: "The range is outside of the audio",
    422: "A value is not valid",
    428: "The header If-Match is missing",
    429: "A limit of the key or of the queue is reached; see Retry-After",
    500: "Unexpected error",
    503: "Redis or a resource is not available now; see Retry-After",
}
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "seconds until the next try", "schema": {"type": "integer", "minimum": 1}}
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the descriptions of the problem documents that an operation may return. Every operation with a key may
    also return 401, 403, 429 and 503."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 401, 403, 429, 503}):
        found[status] = {
            "description": _TEXTS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        if status in (429, 503):
            found[status]["headers"] = _RETRY_AFTER
    return found


__all__ = ["errors"]
