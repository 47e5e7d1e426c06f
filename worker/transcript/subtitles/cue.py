"""One subtitle cue, and the limits of its delay. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.transcript.subtitles.text_units import Part

MAX_DELAY_MS: Final = 2000
"""Maximum delay of a cue after its first word, to give the previous cue time to be read."""
MIN_STEP_MS: Final = 250
"""Minimum time between the starts of two cues, for text without usable times."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: one or two lines, shown from `start_ms` to `end_ms` (milliseconds of the file)."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    parts: tuple[tuple[Part, ...], ...] = ()
    """The parts of each line, with their times."""
    channel: str | None = None
    """Name of the channel from which the words of the cue come, or None if channels were mixed or two speak at once."""


def text_of(parts: Sequence[Part]) -> str:
    """Return the text of a line."""
    return "".join(f" {part.text}" if part.spaced and k else part.text for k, part in enumerate(parts))
