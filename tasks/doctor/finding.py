"""One finding of `stt-batch doctor`, which is one line of its report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    """The checked part works now, but it may fail later or is not safe."""
    FAIL = "fail"
    """Jobs cannot run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. `part`: the checked part, such as `redis`. `remedy`: the advice for the user, or empty."""

    part: str
    status: Status
    text: str
    remedy: str = ""


def ok(part: str, text: str) -> Finding:
    return Finding(part, Status.OK, text)


def warn(part: str, text: str, remedy: str = "") -> Finding:
    return Finding(part, Status.WARN, text, remedy)


def fail(part: str, text: str, remedy: str = "") -> Finding:
    return Finding(part, Status.FAIL, text, remedy)
