"""Decoded frames of a media container as mono blocks with their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from worker.audio.changes import frames_through_changes
from worker.audio.container import Lost, MediaContainer
from worker.audio.downmix import Downmix, Samples
from worker.audio.packing import Packer
from worker.audio.stream_timeline import TimedBlock


class MediaBlocks:
    """Mixes the frames of one container; also where rate, channels or sample format change."""

    def __init__(self, opened: MediaContainer, channel: int | None, warn: Callable[[str], None]) -> None:
        """`channel`: from 0; None mixes all."""
        self._opened = opened
        self._channel = channel
        self._warn = warn
        self._packed = Packer(opened.make_joiner)
        self._mixers: dict[tuple[int, type], Downmix] = {}
        self.frames_decoded = 0

    def __iter__(self) -> Iterator[TimedBlock]:
        """Frames in order, and silence in place of packets that could not be decoded."""
        rate = self._opened.info.sample_rate
        for item in frames_through_changes(self._opened):
            if isinstance(item, Lost):
                samples = np.zeros(round(item.duration_s * rate), np.float32)
                yield TimedBlock(item.start_s, rate, samples, item.reason)
            else:
                rate = item.frame.sample_rate
                self.frames_decoded += 1
                yield TimedBlock(item.start_s, rate, self._mixed(self._packed(item.frame)))

    def _mixed(self, samples: Any) -> Samples:
        """The wanted channel of a frame, or all mixed. Where a stretch has fewer channels than the source began with,
        its sound belongs to the first one; the others are silent there, so that nothing is transcribed twice."""
        count, wanted = samples.shape[1], self._channel
        if wanted is not None and wanted >= count:
            self._warn(f"has only {count} channels in some stretches; channel {wanted + 1} is silent there")
            return np.zeros(len(samples), np.float32)
        kind = (count, samples.dtype.type)
        if kind not in self._mixers:
            self._mixers[kind] = Downmix(*kind, self._warn, wanted)
        return self._mixers[kind](samples)
