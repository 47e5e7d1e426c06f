"""Libraries write nothing to the standard output or the standard error of a command."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest
import structlog

from tasks.cli.library_output import hide_library_output
from tasks.observability import log_setup
from worker.settings import load


@contextmanager
def command(name: str) -> Iterator[click.Context]:
    """Run a command in a process without log setup: the handlers of pytest are removed from the root logger."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        with click.Context(click.Command(name)) as ctx:
            hide_library_output(ctx)
            yield ctx
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_only_own_warnings_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with command("plan"):
        structlog.get_logger("worker.storage").info("download interrupted", at_bytes=1)
        structlog.get_logger("worker.storage").warning("disk slow", path="/a%d\x1b[2J")
        logging.getLogger("worker.ledger").warning("job %s: no answer", "f00")
        for library in ("asyncio", "urllib3.connectionpool", "huggingface_hub", "watchfiles.main"):
            logging.getLogger(library).error("3 changes detected")
        with warnings.catch_warnings(record=True) as seen:
            warnings.warn("divide by zero", RuntimeWarning, stacklevel=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "disk slow path=/a%d\\u001b[2J\njob f00: no answer\n"
    assert not seen


def test_the_end_of_the_command_restores_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    with command("plan") as ctx:
        ctx.close()
        assert not structlog.is_configured()
        logging.getLogger("kombu").warning("no answer")
    assert "no answer" in capsys.readouterr().err


def test_a_command_with_log_lines_sets_them_up_instead(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        with command("worker"):
            log_setup.set_up(load({}))
            structlog.get_logger("worker.a").info("last line")
        assert "INFO worker.a: last line" in capsys.readouterr().err
    finally:
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
        for name in ("worker", "tasks", "py.warnings"):
            logging.getLogger(name).setLevel(logging.NOTSET)
