"""Checks, for text that the recognizer may have invented, whether its audio contains speech at all.

A speech detector costs 6 CPU seconds for an hour of audio, so only jobs with doubtful text are checked, and only a
sample of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import structlog

from worker.audio.recording import Recording
from worker.audio.segmentation.speech_detector import SpeechDetector
from worker.errors import SourceError
from worker.transcript.model import Segment
from worker.transcript.quality import ranges_to_check

logger = structlog.get_logger(__name__)
MIN_PROBABILITY: Final = 0.5
"""Minimum probability, as the detector returns it, of a window that counts as speech."""


async def speech_share(
    source: Recording, segments: Sequence[Segment], detector: Callable[[], SpeechDetector | None]
) -> float | None:
    """Return the share (0 to 1) of speech, as the detector finds it, in the audio whose text is doubtful.

    Returns None if the text gives no reason for doubt, no detector is installed, or the audio can no longer be read.
    `segments`: all segments of the job, with their sections.
    """
    ranges = ranges_to_check(segments)
    if not ranges or (made := await asyncio.to_thread(detector)) is None:
        return None
    spoken = windows = 0
    try:
        feed, opened = None, -1
        # The ranges are in order of section and time, so one feed per section reads forward and decodes each part once.
        for section, start_s, end_s in ranges:
            if feed is None or section != opened:
                feed, opened = await asyncio.to_thread(source.second_feed, section, source.rate), section
            made.reset()
            found = await feed.scan(start_s, end_s, made)
            if found.voice is not None:
                spoken += int(np.count_nonzero(found.voice >= round(MIN_PROBABILITY * 255)))
                windows += found.windows
    except SourceError as exc:  # the transcript is complete; only this check is not possible
        logger.warning("text not checked against the audio", reason=str(exc))
        return None
    return spoken / windows if windows else None
