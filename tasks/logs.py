"""Log lines of a process: one form for structlog's and for the standard library's, to standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def through_logging() -> None:
    """Let structlog's lines go through `logging`, where Celery and the rest of the process have theirs."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            _as_line,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def to_stderr(level: int = logging.INFO) -> None:
    """Set up a process that is not Celery's."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    through_logging()


def _as_line(_logger: Any, _method: str, event: Any) -> str:
    exception = event.pop("exception", None)
    words = [str(event.pop("event", ""))]
    words += [f"{key}={value!r}" if isinstance(value, str) else f"{key}={value}" for key, value in event.items()]
    return " ".join(words) + (f"\n{exception}" if exception else "")
