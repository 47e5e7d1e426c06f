"""Sets up the log of a process: one event per line, to standard error or a file, as text or as JSON (STT_LOG_FORMAT).

Records of structlog and of the standard library use the same handler. Values bound to the context of a task (`job`,
`section`, `session`) are added to every line of that task, also to lines of libraries. Secrets of the settings are
masked in every line. Callers may log the text of transcripts at `debug` only. Repeated lines are counted instead of
written (`tasks.observability.log_dedup`).
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from logging.handlers import WatchedFileHandler
from types import TracebackType
from typing import Any, Final, TextIO

import structlog

from tasks.observability.log_dedup import LogDeduplicator
from worker.errors import SettingsError
from worker.secret_masking import Masker, masker_of
from worker.settings import Settings
from worker.text_escaping import printable, printable_lines
from worker.unknown_settings import unknown_variables

_OWN: Final = ("worker", "tasks")
"""Loggers of this product. All others belong to libraries: of their lines, only warnings and errors are written,
unless the log level is `debug`."""
_PYTHON_WARNINGS: Final = "py.warnings"
"""Logger of the warnings that Python modules issue with `warnings.warn`. They address programmers, so they are written
only if the log level is `debug`."""

_log: Final = structlog.get_logger(__name__)
_process_fields: Final[dict[str, object]] = {}
"""Fields of every line of this process, see `add_to_every_line`."""


def set_up(settings: Settings, level: str | None = None, file: str | None = None) -> None:
    """Send all log lines of this process to standard error, in the format and from the log level of the settings.

    `level` overrides the log level of the settings. With `file` the lines are appended to that file instead, which is
    opened again after a program such as logrotate has moved it. Raises SettingsError if it cannot be opened. Of the
    lines of libraries (Celery, kombu, watchfiles, the model hub), only warnings and errors are written, unless the log
    level is `debug`.
    """
    name = (level or settings.log_level).upper()
    debug = name == "DEBUG"
    handler = _StreamHandler(sys.stderr) if file is None else _opened(file)
    handler.setFormatter(_Formatter(settings.log_format == "json", masker_of(settings)))
    own = logging.getLevelNamesMapping()[name]
    logging.basicConfig(level=own if debug else max(own, logging.WARNING), handlers=[handler], force=True)
    for logger in _OWN:
        logging.getLogger(logger).setLevel(own)
    logging.getLogger(_PYTHON_WARNINGS).setLevel(logging.DEBUG if debug else logging.CRITICAL)
    if debug and not sys.warnoptions:
        warnings.simplefilter("default")
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _with_context,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def add_to_every_line(**fields: object) -> None:
    """Add `fields` to every line that this process logs from now on."""
    _process_fields.update(fields)


def warn_of_unknown_variables(environ: Mapping[str, str]) -> None:
    """Log a warning for each `STT_…` variable that is not a setting, such as a misspelled one."""
    for text in unknown_variables(environ):
        _log.warning(text)


class _Deduplicated(logging.Handler):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dedup = LogDeduplicator()

    def emit(self, record: logging.LogRecord) -> None:
        for one in self._dedup.filter(record):
            super().emit(one)


class _StreamHandler(_Deduplicated, logging.StreamHandler[TextIO]):
    pass


class _FileHandler(_Deduplicated, WatchedFileHandler):
    pass


def _opened(path: str) -> logging.Handler:
    try:
        return _FileHandler(path, encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"the log file {path} cannot be opened ({exc.strerror}); choose another one") from None


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def __init__(self, as_json: bool, masker: Masker) -> None:
        super().__init__(
            foreign_pre_chain=[_with_context],
            processors=[_named, structlog.processors.format_exc_info, _as_json if as_json else _as_line],
        )
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(self._masker.text(super().format(record)))


def _with_context(_logger: Any, _method: str, event: Any) -> Any:
    return {**structlog.contextvars.get_contextvars(), **event}


def _named(_logger: Any, _method: str, event: Any) -> Any:
    """Add time, level and name of the logger to an event, from its log record."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog", None)
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": at, "level": record.levelname.lower(), "logger": record.name, **event, **_process_fields}


def _as_json(_logger: Any, _method: str, event: Any) -> str:
    words = {"at": event.pop("at"), "level": event.pop("level"), "event": str(event.pop("event", "")), **event}
    return json.dumps(_plain(words), ensure_ascii=False, default=str)


def _as_line(_logger: Any, _method: str, event: Any) -> str:
    exception = event.pop("exception", None)
    said = printable(" ".join(str(event.pop("event", "")).split()))  # messages of Celery may have several lines
    head = f"{event.pop('at')} {event.pop('level').upper()} {event.pop('logger')}: {said}"
    words = [f"{key}={value!r}" if isinstance(value, str) else f"{key}={value}" for key, value in _plain(event).items()]
    return " ".join([head, *words]) + (f"\n{exception}" if exception else "")


def _plain(value: Any) -> Any:
    """Replace enumeration members by their values, also inside lists and dicts, because the representation
    `<Outcome.RETRY: 'retry'>` means nothing to a reader of the log."""
    match value:
        case Enum():
            return value.value
        case dict():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return type(value)(map(_plain, value)) if type(value) in (list, tuple, set, frozenset) else value
        case _:
            return value


def _uncaught(kind: type[BaseException], exception: BaseException | None, trace: TracebackType | None) -> None:
    """Log an exception that ends a thread or the process, in the same format as all other lines."""
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    _log.critical("uncaught exception", exc_info=(kind, exception or kind(), trace))


__all__ = ["set_up"]
