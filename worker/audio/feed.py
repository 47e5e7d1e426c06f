"""The frames of one source, from any place on: what a session takes, and what the next one goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from worker.audio.decode import AudioSource
from worker.audio.frames import wire_frames
from worker.audio.voicing import Frame, frames_at_once, frames_with_voice


class FrameFeed:
    """An iterator of frames that can be set to a place and takes one frame back. Positions in samples at `rate` Hz."""

    def __init__(self, source: AudioSource, rate: int, frame_samples: int) -> None:
        self._source = source
        self._rate = rate
        self._frame_samples = frame_samples
        self._frames: Iterator[Frame] = iter(())
        self._returned: Frame | None = None
        self.position = -1
        """Where the next frame starts; -1 before the first `seek`."""
        self.exhausted = False

    async def seek(self, position: int) -> None:
        """Go to `position`, backwards too. Where a format has no exact seek, decoding up to there runs in a thread.

        Raises DamagedSource when nothing can be decoded."""
        if position == self.position:
            return
        chunk = self._frame_samples * frames_at_once(self._frame_samples, self._rate)
        pcm = wire_frames(self._source, self._rate, chunk, position / self._rate)
        self._frames = frames_with_voice(pcm, position, self._rate, self._frame_samples)
        self._returned, self.exhausted, self.position = None, False, position
        first = await asyncio.to_thread(next, self._frames, None)
        if first is None:
            self.exhausted = True
        else:
            self._returned = first

    def give_back(self, frame: Frame) -> None:
        """The frame just taken was not sent: it comes next."""
        self._returned, self.position = frame, frame.file_start

    def __iter__(self) -> FrameFeed:
        return self

    def __next__(self) -> Frame:
        frame, self._returned = self._returned, None
        if frame is None:
            frame = next(self._frames, None)
        if frame is None:
            self.exhausted = True
            raise StopIteration
        self.position = frame.file_start + frame.samples
        return frame
