"""How far a job is: what the pipeline reports and the ledger keeps for others to follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot. Seconds are file seconds."""

    duration_s: float
    """Length of the source; 0 until it is known."""
    sent_s: float
    """Audio handed to the service so far."""
    committed_s: float
    """End of the last committed word."""
    partial: str
    """Text in progress, not committed yet."""
    speed: float = 1.0
    """Factor of real time in force; inf for no limit."""
    trouble: str = ""
    """Why the last session ended early, "" when none did."""
