"""Turns the decoded frames of a media container into mono blocks with timestamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from worker.audio.decoding.coding_changes import frames_through_changes
from worker.audio.decoding.downmix import ChannelReducer, Samples, to_mono
from worker.audio.decoding.ffmpeg_container import WITHOUT_EDITS, MediaContainer
from worker.audio.decoding.ffmpeg_samples import FramePacker
from worker.audio.decoding.frame_batches import MIN_BATCH_S, in_batches
from worker.audio.decoding.media_items import LostPacket
from worker.audio.decoding.stream_timeline import TimedBlock

MAX_LOST_PACKET_S: Final = 10.0
"""Longest plausible packet in seconds: a FLAC frame has at most 65,535 samples, which last 8.2 s at 8 kHz."""


class MediaBlocks:
    """Reduces the frames of one container to mono. The rate, the channels and the sample format may change between
    frames."""

    def __init__(
        self,
        opened: MediaContainer,
        channel: int | None,
        warn: Callable[[str], None],
        batch_s: float = MIN_BATCH_S,
    ) -> None:
        """`channel`: from 0, or None to mix all channels. `warn` receives warnings about the source. `batch_s`: seconds
        of frames that are mixed at a time."""
        self._opened = opened
        self._channel = channel
        self._warn = warn
        self._batch_s = batch_s
        if opened.without_edits:
            warn(WITHOUT_EDITS)
        self._packed = FramePacker(opened.make_joiner)
        self._mixer: ChannelReducer | None = None
        self._kind: tuple[int, type, int] | None = None
        self._undecided: deque[tuple[float | None, int]] = deque()
        """Timestamps and rates of the batches of frames that the mixer has not returned yet."""
        self.frames_decoded = 0

    def __iter__(self) -> Iterator[TimedBlock]:
        """Yield the blocks in order. Silence replaces packets that could not be decoded."""
        rate, end_s = self._opened.info.sample_rate, 0.0
        for item in in_batches(frames_through_changes(self._opened), self._batch_s):
            start_s = item.start_s
            if isinstance(item, LostPacket):
                # A damaged packet table may declare a length of hours for one packet. In this case the next timestamp
                # decides whether there is a gap.
                lost_s = item.duration_s if item.duration_s <= MAX_LOST_PACKET_S else 0.0
                samples = np.zeros(round(lost_s * rate), np.float32)
                yield from self._flushed()
                yield TimedBlock(start_s, rate, samples, item.reason)
            else:
                rate, samples = item.frames[0].sample_rate, self._packed(item.frames)
                self.frames_decoded += len(item.frames)
                yield from self._mixed(start_s, rate, samples, end_s)
            end_s = (end_s if start_s is None else start_s) + len(samples) / rate
        yield from self._flushed()

    def _mixed(self, start_s: float | None, rate: int, samples: Any, end_s: float) -> Iterator[TimedBlock]:
        """Yield the requested channel of the frames, or the mix of all channels. The mixer may delay blocks.

        If a frame does not have the requested channel, silence is yielded for it. The sound of another channel is not
        used, because its words would be transcribed twice."""
        count, wanted = samples.shape[1], self._channel
        if wanted is not None and wanted >= count:
            self._warn(f"has only {count} channels in some stretches; channel {wanted + 1} is silent there")
            yield from self._flushed()
            yield TimedBlock(start_s, rate, np.zeros(len(samples), np.float32))
            return
        kind = (count, samples.dtype.type, rate)
        if self._mixer is None or kind != self._kind:
            yield from self._flushed()
            first_s = end_s if start_s is None else start_s
            self._mixer, self._kind = to_mono(*kind[:2], self._warn, wanted, rate=rate, first_s=first_s), kind
        self._undecided.append((start_s, rate))
        yield from self._timed(self._mixer.push(samples))

    def _flushed(self) -> Iterator[TimedBlock]:
        if self._mixer is not None:
            yield from self._timed(self._mixer.flush())
            self._mixer = None

    def _timed(self, blocks: Iterable[Samples]) -> Iterator[TimedBlock]:
        for block in blocks:
            yield TimedBlock(*self._undecided.popleft(), block)
