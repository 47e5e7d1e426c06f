"""Reads formats that libsndfile cannot open (m4a and mp4, mkv and webm, wma, amr and more), and undamaged Opus of
48 kHz, as one signal.

The steps are: open the container, decode frames, reduce them to mono, correct gaps and drift of the timeline, resample
to one rate, and cut blocks. A reader that starts in the middle decodes and drops all earlier audio, so its position is
exact for every codec.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np

from worker.audio.audio_tracks import SILENT_PEAK, choice_warning, silence_warning
from worker.audio.decoding.coding_changes import frames_through_changes
from worker.audio.decoding.downmix import Samples
from worker.audio.decoding.equal_blocks import regrouped
from worker.audio.decoding.ffmpeg_blocks import MediaBlocks
from worker.audio.decoding.ffmpeg_container import MediaContainer
from worker.audio.decoding.frame_batches import MAX_BATCH_S, MIN_BATCH_S
from worker.audio.decoding.libsndfile_faults import DAMAGED_FRAMES, ReadPlan
from worker.audio.decoding.media_items import DecodedFrame
from worker.audio.decoding.rate_changes import RateConverter
from worker.audio.decoding.reader_base import ReaderBase
from worker.audio.decoding.stream_timeline import StreamTimeline
from worker.audio.empty_file_check import check_not_empty
from worker.audio.opened_file import SourceFile
from worker.audio.source import AudioInfo

_PADDING: Final = (0.15, 4096)
"""Encoder padding (seconds, samples) that container lengths may include. A file that is shorter than declared by less
is not damaged."""


class MediaSource(ReaderBase):
    """A file that FFmpeg reads. Created by `open_media`."""

    def __init__(
        self, path: SourceFile, channel: int | None = None, plan: ReadPlan | None = None, track: int | None = None
    ) -> None:
        """`channel`: from 0, or None to mix all channels. `track`: from 1, or None for the default track. `plan`: names
        the part of the file to read, with a corrected header if the file's own header is wrong.

        Raises UnsupportedSource, DamagedSource, SourceError."""
        super().__init__(path, plan.warnings if plan is not None else ())
        self._channel = channel
        self._part = plan.parts[0] if plan is not None and plan.parts else None
        check_not_empty(path)
        self._track = track
        opened = self._opened()
        self._open: MediaContainer | None = opened
        self.info = opened.info
        self.is_raw_stream = opened.is_raw_stream
        self._declared_end_s = opened.declared_end_s
        self._track_read = opened.track
        if track is None and (text := choice_warning(self.info.tracks, self._track_read)) is not None:
            self._warn(text)

    def use_info(self, info: AudioInfo) -> None:
        """Use the format and length that another reader found in the header. FFmpeg's own length includes the samples
        that a decoder of Opus skips at the start."""
        self.info = info
        if info.frames is not None:
            self._declared_end_s = info.frames / info.sample_rate

    def decodes_first_frame(self) -> bool:
        """Decode the first frame. Returns False if a packet before it is damaged, or if there is no frame."""
        opened, self._open = self._open or self._opened(), None
        try:
            return isinstance(next(frames_through_changes(opened), None), DecodedFrame)
        finally:
            opened.close()

    def _opened(self) -> MediaContainer:
        return MediaContainer(self.path, self._part, track=self._track)

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """See `ReaderBase.blocks`. Silence replaces damaged audio and gaps in the timestamps."""
        self._begin(start_frame, block_s)
        opened, self._open = self._open or self._opened(), None
        size = max(1, round(block_s * self.info.sample_rate))
        try:
            blocks = regrouped(self._mono(opened, min(MAX_BATCH_S, max(MIN_BATCH_S, block_s / 2))), size)
            if len(self.info.tracks) > 1:
                blocks = self._check_silence(blocks)
            lost = deque(self._part.lost if self._part is not None else ())
            for block in self._counted(blocks, start_frame):
                self._report_lost(lost)
                yield block
            self._report_lost(lost)
        finally:
            opened.close()
        self._check_end()

    def _report_lost(self, lost: deque[tuple[float, float]]) -> None:
        """Report the lost ranges of the part that begin before the current position, and remove them from `lost`."""
        while lost and lost[0][0] * self.info.sample_rate < self.frames_decoded:
            start_s, end_s = lost.popleft()
            self._undecoded.add(start_s, end_s, DAMAGED_FRAMES)
            self._warn(f"damaged at about {start_s:.1f} s: {DAMAGED_FRAMES}")

    def _check_silence(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """Yield the blocks unchanged. Warn at the end if all blocks were silent, because another track may contain the
        speech."""
        peak = 0.0
        for block in blocks:
            if peak < SILENT_PEAK:
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
            yield block
        if peak < SILENT_PEAK:
            self._warn(silence_warning(self.info.tracks, self._track_read))

    def _mono(self, opened: MediaContainer, batch_s: float) -> Iterator[Samples]:
        """Yield the decoded signal at the rate of `info`, in arrays of at most about a second."""
        one_rate = RateConverter(self.info.sample_rate)
        timeline = StreamTimeline(opened.declared_length_s, self._warn, latest_end_s=opened.latest_end_s)
        blocks = MediaBlocks(opened, self._channel, self._warn, batch_s)
        yield from self._at_one_rate(timeline.place(iter(blocks)), one_rate, 0.0)
        yield from one_rate.flush()
        if not blocks.frames_decoded:
            raise self._nothing_decoded()

    def _check_end(self) -> None:
        decoded_s, declared_s = self.frames_decoded / self.info.sample_rate, self._declared_end_s
        if any(text.startswith("cut off") for text in self.warnings):
            return
        if declared_s is not None and decoded_s < declared_s - max(_PADDING[0], _PADDING[1] / self.info.sample_rate):
            self._warn(
                f"cut off or damaged: the header declares {declared_s:.1f} s, {decoded_s:.1f} s could be decoded"
            )

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        super().close()


def open_media(
    path: SourceFile, channel: int | None = None, plan: ReadPlan | None = None, track: int | None = None
) -> MediaSource:
    """Open a file with FFmpeg, and decode its start. The parameters are those of `MediaSource`.

    Raises UnknownContainer or NoDecoder for formats that FFmpeg cannot read, UnsupportedSource for a file without
    audio, DamagedSource if nothing can be decoded, NoSuchTrack."""
    source = MediaSource(path, channel, plan, track)
    try:
        # To decode a block of one second, the reader reads four seconds ahead, which takes 9 ms for Opus. So it is
        # decoded only if there is damage before the first frame.
        if not source.decodes_first_frame():
            next(source.blocks(), None)
    except BaseException:
        source.close()
        raise
    return source
