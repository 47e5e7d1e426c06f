"""The request body of `POST /v1/jobs` in the OpenAPI document, with examples."""

from __future__ import annotations

from typing import Any, Final

REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/JobSpec"},
            "examples": {
                "object": {
                    "summary": "An object in a bucket that STT_HTTP_ALLOWED_SOURCES names",
                    "value": {"source": "s3://calls/2026/11/29/0001.wav", "language": "yue", "batch": "monday"},
                },
                "file": {
                    "summary": "A file that the workers see under this path",
                    "value": {"source": "/audio/call.wav", "formats": ["json", "srt"]},
                },
            },
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary", "minLength": 1},
                        "description": "one or more audio files",
                    },
                    "language": {"type": "string", "maxLength": 35},
                    "priority": {"type": "string", "enum": ["high", "normal", "low"]},
                    "batch": {"type": "string", "minLength": 1, "maxLength": 200},
                    "formats": {"type": "string", "pattern": r"^(json|srt|vtt|txt)(,(json|srt|vtt|txt)){0,3}$"},
                    "job": {
                        "type": "object",
                        "description": "any options of the job as a JSON object, without `source`; each option may also"
                        " be a field of its own",
                        "properties": {"language": {"type": "string", "maxLength": 35}},
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
            "examples": {"file": {"summary": "One file", "value": {"file": ["(content)"], "language": "en"}}},
        },
    },
}

__all__ = ["REQUEST_BODY"]
