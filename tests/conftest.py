"""Settings and fixtures of all tests.

- Several files are tested in parallel: three processes per core, since tests wait more than they compute. `-n` chooses
  another number. A single file or test runs in this process, as does everything with a debugger, with `-s` or with
  coverage.
- Of a large parametrized test with the marker `gate_sample`, only some cases run (`tests.support.gate_sample`).
- Property tests have no time limit, because they would fail on a busy machine. In CI they always try the same cases.
  The profile `quick` of `poe test-unit` tries two thirds of the usual number, and the profile `thorough` of `.ci/full`
  ten times as many.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support import gate_sample, long_tests

ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "everywhere", ANY_SPEED, max_examples=30, derandomize=os.environ.get("CI") == "true", print_blob=True
)
settings.register_profile("thorough", ANY_SPEED, max_examples=300, print_blob=True)
settings.register_profile("quick", ANY_SPEED, max_examples=20)
settings.load_profile("everywhere")

os.environ["STT_CONFIG"] = "none"  # the file of the developer must not change a test
OWN_LOGGERS = ("worker", "tasks", "py.warnings")
"""Loggers whose levels a command sets."""
PROCESSES_PER_CORE, MAX_PROCESSES = 3, 16

# Hundreds of Python processes are started; without compiled modules each spends a second on compiling ours, and each
# process of pytest-xdist 13 s on the modules of the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Under `nohup`, this process ignores SIGHUP, and each program that a test starts would ignore it as well. A handler
# ignores it too, but started programs do not inherit it.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run tests in parallel by default. This hook runs before the hook of pytest-xdist, which reads its options."""
    options = config.option
    if hasattr(config, "workerinput"):  # this is one of those processes
        return
    if getattr(options, "numprocesses", 0) is not None:  # no pytest-xdist, or `-n` was given
        return
    if options.usepdb or options.trace or options.capture == "no" or _single_file(config.args):
        return
    if getattr(options, "cov_source", None):  # pytest-cov has read the options already and expects a single process
        return
    options.numprocesses = min(PROCESSES_PER_CORE * (os.cpu_count() or 1), MAX_PROCESSES)
    options.dist = "worksteal"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", gate_sample.MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while the tests are collected, and leave their modules and items out of later garbage
    collections. This saves each process about 3 s."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, object, object]:
    gate_sample.mark_the_rest(items)
    result = yield  # `-m` deselects
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        long = [long_tests.may_take_s(item) >= long_tests.LONG_S for item in items]
        items[:] = long_tests.spread(items, long, processes)
    return result


def _single_file(arguments: list[str]) -> bool:
    """True if the command line names one file or tests of one file, and no folder."""
    paths = {argument.partition("::")[0] for argument in arguments}
    return len(paths) == 1 and paths.pop().endswith(".py")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Restore the logging of the process after each test: a command that runs in this process sets it up with a stream
    that is closed after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    _reset_structlog()


def _reset_structlog() -> None:
    structlog.reset_defaults()
    # With Rich installed, structlog writes the variables of each function in a traceback, which takes seconds.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure([*structlog.get_config()["processors"][:-1], renderer])


_reset_structlog()
