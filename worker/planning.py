"""Opens a source and plans its sections in a thread, which ends soon when the job does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from worker.audio.recording import Recording, open_recording
from worker.audio.sections import Cutting, Plan
from worker.audio.skipping import Skipping
from worker.audio.speech import silero
from worker.errors import JobCancelled
from worker.settings import Settings


async def open_planned(
    path: Path, settings: Settings, sessions: int, skip_silence: bool, made: Plan | None
) -> Recording:
    """The source in sections for so many `sessions`; `made` is the plan of an earlier attempt, which is kept.

    Raises SourceError.
    """
    stopped = threading.Event()

    def progress(_: float) -> None:
        if stopped.is_set():
            raise JobCancelled("stopped while the audio was looked through")

    def work() -> Recording:
        wanted = skip_silence and made is None
        return open_recording(
            path,
            settings.sample_rate,
            cutting=Cutting(sessions=sessions),
            skipping=Skipping() if wanted else None,
            detector=silero() if wanted and settings.speech_detector == "auto" else None,
            made=made,
            progress=progress,
        )

    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        stopped.set()
        raise
