"""Hides log lines and warnings of libraries in commands that print results instead of log lines (`run`, `plan`, …).

By default structlog prints every log line to standard output, in the middle of the result. The `logging` module prints
warnings of all loggers, and Python prints its own warnings with a line of source code. Commands that write a log
replace this set-up by `tasks.observability.log_setup`.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import click

from worker.text_escaping import printable_lines


def hide_library_output(ctx: click.Context) -> None:
    """Until `ctx` ends, print only warnings and errors of this program's own loggers, to standard error."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    handler = logging.lastResort
    if handler is not None:
        handler.addFilter(_is_ours)
        ctx.call_on_close(lambda: handler.removeFilter(_is_ours))
    # A light command such as `health` does not load structlog, because the import takes longer than the work of the
    # command.
    if "structlog" in sys.modules:
        import structlog  # noqa: PLC0415

        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, _as_text],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        ctx.call_on_close(_reset)


def _reset() -> None:
    import structlog  # noqa: PLC0415

    if _as_text in structlog.get_config()["processors"]:  # unless `log_setup` has replaced the configuration
        structlog.reset_defaults()


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in ("worker", "tasks")


def _as_text(_logger: Any, _method: str, event: Any) -> str:
    words = [str(event.pop("event", "")), *(f"{key}={value}" for key, value in event.items() if key != "exc_info")]
    return printable_lines(" ".join(words))
