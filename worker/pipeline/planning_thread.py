"""Opens a source and plans its sections in a thread, which ends soon after a cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

from worker.audio.channel_selection import ALL_MIXED, ChannelSelection
from worker.audio.decoded_disk_space import decoded_space
from worker.audio.opened_file import SourceFile
from worker.audio.recording import Recording, open_recording
from worker.audio.segmentation.section_plan import CutOptions, StreamingPlan
from worker.audio.segmentation.silence import SkipOptions
from worker.audio.segmentation.silero_model import silero
from worker.audio.source import AudioInfo
from worker.errors import JobCancelled, SourceRefused
from worker.settings import Settings


def check_length(duration_s: float, shown: str, settings: Settings) -> None:
    """Check that the audio is not longer than STT_SOURCE_MAX_HOURS. Raises SourceRefused; `shown` names the source."""
    if settings.source_max_hours and duration_s > settings.source_max_hours * 3600:
        limit = f"{settings.source_max_hours:g} hours (STT_SOURCE_MAX_HOURS)"
        raise SourceRefused(f"{shown}: is longer than {limit}; split it, or raise the limit")


def check_channels(info: AudioInfo, shown: str, settings: Settings) -> None:
    """Check that the audio has at most STT_SOURCE_MAX_CHANNELS channels. Raises SourceRefused; `shown` names the
    source."""
    if info.channels > settings.source_max_channels:
        limit = f"{settings.source_max_channels} (STT_SOURCE_MAX_CHANNELS)"
        raise SourceRefused(f"{shown}: has {info.channels} channels, more than {limit}")


async def open_planned(
    path: SourceFile | Path,
    settings: Settings,
    sessions: int,
    skip_silence: bool,
    made: Sequence[StreamingPlan] | None,
    selection: ChannelSelection = ALL_MIXED,
) -> Recording:
    """Open the source and divide it into sections for up to `sessions` simultaneous sessions.

    `made`: the plans of an earlier attempt, or None. Plans in `made` are used, and no new plans are made. Raises
    SourceError (SourceRefused if the source exceeds a limit of the settings) and BadJob.
    """
    stopped = threading.Event()

    def progress(read_s: float) -> None:
        if stopped.is_set():
            raise JobCancelled("stopped during the search for pauses in the audio")
        check_length(read_s, str(path), settings)

    def accept(info: AudioInfo) -> None:
        check_channels(info, str(path), settings)
        check_length(info.duration_s or 0.0, str(path), settings)

    def work() -> Recording:
        skipping = skip_silence and made is None
        return open_recording(
            path,
            settings.sample_rate,
            cutting=CutOptions(sessions=sessions),
            skipping=SkipOptions() if skipping else None,
            detector=silero() if skipping and settings.speech_detector == "auto" else None,
            selection=selection,
            earlier_plans=made,
            progress=progress,
            accept=accept,
            space=decoded_space(settings.decoded_max_gb, settings.decoded_job_max_gb, settings.disk_free_gb),
        )

    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        stopped.set()
        raise
