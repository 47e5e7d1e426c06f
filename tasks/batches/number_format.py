"""Formats numbers for people: durations and speeds. No I/O."""

from __future__ import annotations


def format_duration(seconds: float | None) -> str:
    """Format a duration as `0:07` or `1:02:03`. Return a dash for an unknown duration."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_count(number: int, noun: str) -> str:
    """Return a number with a noun: `1 session`, `2 sessions`. The plural of the noun must end in -s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_speed(speed: float | None) -> str:
    """Format a factor of real time as `1.5x`. Return a dash for an unknown speed."""
    return "–" if speed is None else f"{speed:.1f}x"
