"""Computes the position at which a session continues after a lost session. No I/O."""

from __future__ import annotations

from typing import Final

RESUME_MARGIN_S: Final = 0.5
"""A resumed session starts this long before the first uncommitted sound, so that the service gets the first word
completely."""
WORD_END_TOLERANCE_S: Final = 0.1
"""Sound that continues up to this long after the end of a word still belongs to the word."""
MAX_TEXT_DELAY_S: Final = 6.0
"""In real time, a commit arrives at most this many seconds after the end of its speech: after the commit pause of the
service (usually 1.5 s), and a delay of a few seconds. Speech of the next commit may be sent meanwhile."""


def resume_position(onset_s: float | None, committed_until_s: float, sent_s: float, start_s: float) -> float:
    """Return the position in the file, in seconds, at which the next session has to start. All arguments are positions
    in the file, in seconds.

    `onset_s`: start of the first sound without committed text, or None if there is no such sound. `committed_until_s`:
    end of the last committed word. `sent_s`: end of the sent audio. `start_s`: start of the part of the file that is
    streamed. The result is RESUME_MARGIN_S before `onset_s`, but not after `sent_s`. If `onset_s` is None, the
    result is RESUME_MARGIN_S before the end of the sent audio or of the last committed word, whichever is later: the
    first milliseconds of a word may have been sent, and are no sound yet. The result is never before `start_s`."""
    if onset_s is None:
        return max(max(sent_s, committed_until_s) - RESUME_MARGIN_S, start_s)
    return max(start_s, min(onset_s - RESUME_MARGIN_S, sent_s))
