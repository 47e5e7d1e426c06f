"""The error names that the schema of the service's upstream documents."""

from __future__ import annotations

from typing import Final

ERROR_NAMES: Final = frozenset(
    {
        "auth_error", "quota_exceeded", "unaccepted_terms", "input_error", "invalid_request", "chunk_size_exceeded",
        "rate_limited", "queue_overflow", "resource_exhausted", "transcriber_error", "error",
        "session_time_limit_exceeded", "insufficient_audio_activity", "commit_throttled",
    }
)  # fmt: skip
