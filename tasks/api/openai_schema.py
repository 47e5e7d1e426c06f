"""The request body of `POST /v1/audio/transcriptions` in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from tasks.api.openai_formats import FORMATS, GRANULARITIES, LANGUAGE, MAX_LANGUAGE

_IGNORED: Final = "accepted and ignored"
REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "the audio"},
                    "model": {"type": "string", "description": f"{_IGNORED}; the workers choose the service"},
                    "language": {
                        "type": "string",
                        "maxLength": MAX_LANGUAGE,
                        "pattern": LANGUAGE,
                        "description": "language of the audio, such as en or zh-HK",
                    },
                    "prompt": {"type": "string", "description": _IGNORED},
                    "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
                    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": _IGNORED},
                    "timestamp_granularities[]": {
                        "type": "array",
                        "items": {"type": "string", "enum": list(GRANULARITIES)},
                        "description": "for verbose_json; default: segment",
                    },
                    "stream": {"type": "boolean", "default": False, "description": "send the text as it is committed"},
                },
            },
            "encoding": {
                "file": {"contentType": "audio/wav, audio/mpeg, audio/flac, audio/ogg, audio/mp4, audio/webm"}
            },
        }
    },
}

__all__ = ["REQUEST_BODY"]
