"""Parses and formats the streaming speed of a session."""

from __future__ import annotations

import math
from typing import Literal

Speed = float | Literal["auto"]
"""A factor of real time; inf: no limit; "auto": the speed adapts to the service while streaming."""


def show_speed(speed: Speed) -> str:
    """Return a speed as text that `parse_speed` reads: `max`, `auto`, or the factor."""
    if speed == "auto":
        return speed
    return "max" if math.isinf(speed) else f"{speed:g}"


def parse_speed(value: object) -> Speed:
    """Parse `max` (returned as inf), `auto`, or a factor of real time of at least 0.1. Raises ValueError."""
    text = str(value).strip().lower()
    if text == "auto":
        return "auto"
    if text in ("max", "inf"):
        return math.inf
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not 0.1 <= speed < math.inf:
        raise ValueError(f"speed must be `max`, `auto` or a number from 0.1 up (1 is real time), not {text[:40]!r}")
    return speed
