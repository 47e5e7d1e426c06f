"""Formats numbers for people: durations and speeds (pure)."""

from __future__ import annotations


def format_duration(seconds: float | None) -> str:
    """`0:07`, `1:02:03`; a dash for an unknown duration."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_speed(speed: float | None) -> str:
    """`1.5x`; a dash for an unknown speed."""
    return "–" if speed is None else f"{speed:.1f}x"
