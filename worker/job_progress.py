"""The progress of a job, reported by the pipeline and stored in the ledger."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of a running job. All times are positions in the file, in seconds."""

    duration_s: float
    """Duration of the source; 0 while unknown."""
    sent_s: float
    """Audio sent to the service so far."""
    committed_s: float
    """End of the last committed word."""
    partial: str
    """Partial text, which the service has not committed yet."""
    speed: float = 1.0
    """Current speed as a factor of real time; inf without a limit."""
    trouble: str = ""
    """Why the last session ended early; "" if none did."""
