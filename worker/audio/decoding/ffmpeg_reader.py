"""Reads formats that libsndfile cannot open (m4a and mp4, mkv and webm, wma, amr and more) as one signal.

container -> frames -> mono -> timeline (holes, drift) -> one rate -> blocks. A start in the middle decodes and
drops all earlier audio, so it is exact in every coding.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Final

import numpy as np

from worker.audio.audio_tracks import SILENT_PEAK, choice_warning, silence_warning
from worker.audio.decoding.downmix import Samples
from worker.audio.decoding.equal_blocks import regrouped
from worker.audio.decoding.ffmpeg_blocks import MediaBlocks
from worker.audio.decoding.ffmpeg_container import MediaContainer
from worker.audio.decoding.rate_changes import OneRate
from worker.audio.decoding.repair import Plan
from worker.audio.decoding.stream_timeline import StreamTimeline
from worker.audio.opened_file import SourceFile
from worker.audio.source import check_readable
from worker.audio.undecoded_ranges import Undecoded, UndecodedLog
from worker.audio.warning_log import WarningLog
from worker.errors import DamagedSource

_PADDING: Final = (0.15, 4096)
"""Seconds and samples of encoder padding that container lengths may include; a smaller difference is not damage."""


class MediaSource:
    """Open media: an `Audio`. `info` is from the container's header; `frames_decoded`, `warnings` and `undecoded` grow
    while `blocks` runs. Get it from `open_media`."""

    def __init__(
        self, path: SourceFile, channel: int | None = None, plan: Plan | None = None, track: int | None = None
    ) -> None:
        """`track`: from 1, None for the default. `plan`: parts and headers for FFmpeg, if the file's header is wrong.

        Raises UnsupportedSource, DamagedSource, SourceError."""
        self.path = path
        self._channel = channel
        self._part = plan.parts[0] if plan is not None and plan.parts else None
        self.frames_decoded = 0
        self._warnings = WarningLog(plan.warnings if plan is not None else ())
        self._undecoded = UndecodedLog()
        self._closed = False
        check_readable(path)
        self._track = track
        self._open: MediaContainer | None = MediaContainer(path, self._part, track=track)
        self.info = self._open.info
        self.is_raw_stream = self._open.is_raw_stream
        self._promised_s = self._open.promised_s
        self._track_read = self._open.track
        if track is None and (text := choice_warning(self.info.tracks, self._track_read)) is not None:
            self._warn(text)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._warnings.texts

    @property
    def undecoded(self) -> tuple[Undecoded, ...]:
        return self._undecoded.stretches

    def _warn(self, text: str) -> None:
        self._warnings.add(text)

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """Mono float32[n] blocks of at most `block_s` seconds from `start_frame` to the end, the caller's to keep.

        Channels are mixed with equal weights, unless it was opened for one; holes in the container's times are filled
        with silence. Raises DamagedSource when nothing can be decoded; later damage becomes silence, and
        `undecoded` lists it.
        """
        if start_frame < 0 or block_s <= 0:
            raise ValueError(f"start_frame {start_frame} must not be negative, block_s {block_s} must be positive")
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        self.frames_decoded = 0
        self._undecoded.clear()
        if self._open is None:
            self._open = MediaContainer(self.path, self._part, track=self._track)
        opened, self._open = self._open, None
        size, skip = max(1, round(block_s * self.info.sample_rate)), start_frame
        try:
            peak = 0.0
            for block in regrouped(self._mono(opened), size):
                self.frames_decoded += len(block)
                if peak < SILENT_PEAK and len(self.info.tracks) > 1:
                    peak = max(peak, float(np.abs(block).max(initial=0.0)))
                if skip < len(block):
                    yield block[skip:] if skip else block
                skip = max(0, skip - len(block))
        finally:
            opened.close()
        if peak < SILENT_PEAK and len(self.info.tracks) > 1:
            self._warn(silence_warning(self.info.tracks, self._track_read))
        self._check_end()

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """The same as `blocks`."""
        return self.blocks(start_frame, block_s)

    def _mono(self, opened: MediaContainer) -> Iterator[Samples]:
        """The decoded signal at the rate of `info`, in pieces of at most about a second."""
        one_rate, at_s = OneRate(self.info.sample_rate), 0.0
        timeline = StreamTimeline(opened.said_length_s, self._warn)
        blocks = MediaBlocks(opened, self._channel, self._warn)
        for placed in timeline.place(iter(blocks)):
            end_s = at_s + len(placed.samples) / placed.rate
            if placed.lost and self._undecoded.add(at_s, end_s, placed.lost):
                self._warn(f"damaged at about {at_s:.1f} s: {placed.lost}")
            at_s = end_s
            yield from one_rate.feed(placed.rate, placed.samples)
        yield from one_rate.flush()
        if not blocks.frames_decoded:
            reason = f" ({self.warnings[-1]})" if self.warnings else ""
            raise DamagedSource(f"{self.path}: nothing in it could be decoded{reason}")

    def _check_end(self) -> None:
        decoded_s, said_s = self.frames_decoded / self.info.sample_rate, self._promised_s
        if any(text.startswith("cut off") for text in self.warnings):
            return
        if said_s is not None and decoded_s < said_s - max(_PADDING[0], _PADDING[1] / self.info.sample_rate):
            self._warn(f"cut off or damaged: the header promises {said_s:.1f} s, {decoded_s:.1f} s could be decoded")

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        self._closed = True

    def __enter__(self) -> MediaSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_media(
    path: SourceFile, channel: int | None = None, plan: Plan | None = None, track: int | None = None
) -> MediaSource:
    """Open a file with FFmpeg, and decode the start of it. `plan`: the place of the audio, if its header is wrong.

    Raises UnknownContainer or NoDecoder for formats that FFmpeg cannot read, UnsupportedSource for a file without
    audio, DamagedSource if nothing can be decoded, NoSuchTrack."""
    source = MediaSource(path, channel, plan, track)
    try:
        next(source.blocks(), None)
    except BaseException:
        source.close()
        raise
    return source
