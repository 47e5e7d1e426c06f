"""For all tests: property tests have no deadline (a busy machine is no bug); in CI they always try the same cases."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("everywhere", deadline=None, derandomize=os.environ.get("CI") == "true", print_blob=True)
settings.load_profile("everywhere")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a test makes of the process's logging (a command in this process sets it up) ends with the test: its stream
    is closed then."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
