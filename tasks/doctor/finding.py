"""One finding of `stt-batch doctor`: a line of its report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    """It works, and may not for long, or not safely."""
    FAIL = "fail"
    """Jobs cannot be done like this."""


@dataclass(frozen=True, slots=True)
class Finding:
    part: str
    status: Status
    text: str
    way_out: str = ""


def ok(part: str, text: str) -> Finding:
    return Finding(part, Status.OK, text)


def warn(part: str, text: str, way_out: str = "") -> Finding:
    return Finding(part, Status.WARN, text, way_out)


def fail(part: str, text: str, way_out: str = "") -> Finding:
    return Finding(part, Status.FAIL, text, way_out)
