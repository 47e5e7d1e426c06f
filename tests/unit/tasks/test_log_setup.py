"""Log lines: their form and content, and the absence of secrets."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from enum import Enum, IntEnum, StrEnum

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tasks.observability import log_setup
from worker.secret_masking import MASK, Masker
from worker.settings import Settings, load

KEY, PASSWORD = 'key "with" é', "pass%2Fword"


class Lines:
    """The text written to standard error since the last call."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    def text(self) -> str:
        return self._captured.readouterr().err

    def entries(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """The log lines of a process with its own log setup. The logging of the test process is restored at the end."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    yield Lines(capsys)
    logging.captureWarnings(capture=False)
    root.handlers[:], sys.excepthook, threading.excepthook = before[0], before[2], before[3]
    root.setLevel(before[1])
    for name in ("worker", "tasks", "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def settings(**given: str) -> Settings:
    return load({"STT_API_KEY": KEY, "STT_REDIS_URL": f"redis://u:{PASSWORD}@queue/0", **given})


def fail(why: str) -> None:
    raise ValueError(why)


def test_a_line_of_json_is_one_event_with_its_context(lines: Lines) -> None:
    log_setup.set_up(settings(STT_LOG_FORMAT="json"))
    with structlog.contextvars.bound_contextvars(job="f00", session=2):
        structlog.get_logger("worker.a").info("session ended", code=1000)
        logging.getLogger("tasks.b").warning("slow: %s", "disk")
    structlog.get_logger("worker.a").info("after", job="other")
    first, second, third = lines.entries()
    assert first.pop("at")
    assert first == {
        "level": "info",
        "event": "session ended",
        "logger": "worker.a",
        "job": "f00",
        "session": 2,
        "code": 1000,
    }
    assert {"level": "warning", "event": "slow: disk", "job": "f00", "session": 2}.items() <= second.items()
    assert third["job"] == "other"
    assert "session" not in third


def test_a_line_of_text_has_the_same_content(lines: Lines) -> None:
    log_setup.set_up(settings())
    with structlog.contextvars.bound_contextvars(job="f00"):
        structlog.get_logger("tasks.x").info("job started", attempt=1, why="no reason")
    at, rest = lines.text().split(" ", 1)
    assert at.endswith("Z")
    assert rest == "INFO tasks.x: job started job='f00' attempt=1 why='no reason'\n"


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_part_of_its_event(lines: Lines, form: str) -> None:
    log_setup.set_up(settings(STT_LOG_FORMAT=form))
    for logger in (structlog.get_logger("worker.a"), logging.getLogger("tasks.b")):
        try:
            fail("what went wrong")
        except ValueError:
            logger.exception("it failed")
    text = lines.text()
    assert text.count("ValueError: what went wrong") == 2
    assert text.count("Traceback") == 2
    if form == "json":
        found = [json.loads(line) for line in text.splitlines()]
        assert ["Traceback" in entry["exception"] for entry in found] == [True, True]


def test_an_uncaught_exception_is_a_log_line(lines: Lines) -> None:
    log_setup.set_up(settings(STT_LOG_FORMAT="json"))

    thread = threading.Thread(target=fail, args=("in a thread",))
    thread.start()
    thread.join()
    sys.excepthook(OSError, OSError("in the process"), None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    first, second = lines.entries()
    assert (first["level"], second["level"]) == ("critical", "critical")
    assert "ValueError: in a thread" in str(first["exception"])


def test_each_run_has_its_level(lines: Lines) -> None:
    log_setup.set_up(settings(STT_LOG_LEVEL="Warning"))
    structlog.get_logger("worker.a").info("below the level")
    logging.getLogger("tasks.b").info("below the level")
    log_setup.set_up(settings(STT_LOG_LEVEL="warning"), "debug")
    structlog.get_logger("worker.a").debug("written")
    logging.getLogger("celery.app.trace").info("written")
    log_setup.set_up(settings())
    logging.getLogger("celery.app.trace").info("below the level")
    text = lines.text()
    assert text.count(": written") == 2
    assert "below the level" not in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_leaves_whatever_logs_it(lines: Lines, form: str) -> None:
    log_setup.set_up(settings(STT_LOG_FORMAT=form, STT_LOG_LEVEL="debug"))
    url = f"redis://u:{PASSWORD}@queue/0"
    structlog.get_logger("worker.a").info(f"key {KEY}", url=url, headers={"x-api-key": KEY})
    logging.getLogger("tasks.b").debug("connecting to %s with %r", url, KEY)
    try:
        fail(f"refused: {KEY}")
    except ValueError:
        logging.getLogger("tasks.b").exception("no")
    text = lines.text()
    assert MASK in text
    for secret in (KEY, PASSWORD, json.dumps(KEY)[1:-1], json.dumps(KEY, ensure_ascii=False)[1:-1]):
        assert secret not in text


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.binary() | st.none(), max_size=4))
def test_whatever_is_logged_is_one_line_of_json(values: dict[str, object]) -> None:
    formatter = log_setup._Formatter(as_json=True, masker=Masker(()))
    record = logging.LogRecord("n", logging.INFO, "", 1, {"event": "e", **values}, None, None)
    record._logger = None  # type: ignore[attr-defined]
    record._name = "info"  # type: ignore[attr-defined]
    line = formatter.format(record)
    assert "\n" not in line
    assert json.loads(line)["level"]


class Plain(Enum):
    FULL = "full"


class Text(StrEnum):
    RETRY = "retry"


class Number(IntEnum):
    BUSY = 429


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_enumeration_is_logged_as_its_value(lines: Lines, form: str) -> None:
    log_setup.set_up(settings(STT_LOG_FORMAT=form))
    values = {"a": Plain.FULL, "b": Text.RETRY, "c": Number.BUSY, "d": [Text.RETRY], "e": {Plain.FULL: (Plain.FULL,)}}
    structlog.get_logger("worker.a").info("session ended", **values)
    text = lines.text()
    for raw in ("<", "Plain", "Text", "Number", "RETRY", "FULL", "BUSY"):
        assert raw not in text
    assert "retry" in text
    assert "429" in text


FOREIGN = ("watchfiles.main", "celery.worker.consumer.connection", "kombu", "celery.app.trace", "huggingface_hub", "av")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_library_writes_from_warning_on(lines: Lines, name: str) -> None:
    log_setup.set_up(settings())
    logging.getLogger(name).info("3 changes detected")
    logging.getLogger(name).warning("connection lost")
    text = lines.text()
    assert "3 changes detected" not in text
    assert "connection lost" in text


@pytest.mark.parametrize("name", FOREIGN)
def test_debug_shows_all_lines_of_libraries(lines: Lines, name: str) -> None:
    log_setup.set_up(settings(STT_LOG_LEVEL="debug"))
    logging.getLogger(name).info("3 changes detected")
    assert "3 changes detected" in lines.text()


def test_a_library_obeys_a_level_above_warning(lines: Lines) -> None:
    log_setup.set_up(settings(STT_LOG_LEVEL="error"))
    logging.getLogger("kombu").warning("connection lost")
    assert lines.text() == ""


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", True)])
def test_python_warnings_are_for_debug(lines: Lines, level: str, shown: bool) -> None:
    log_setup.set_up(settings(STT_LOG_LEVEL=level))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("divide by zero", RuntimeWarning, stacklevel=1)
    assert ("divide by zero" in lines.text()) is shown
