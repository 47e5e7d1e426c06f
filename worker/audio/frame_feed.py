"""Supplies the PCM frames of one source from any position, so that a new session can continue after a failed one."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from worker.audio.pcm_frames import BYTES_PER_SAMPLE, wire_frames
from worker.audio.resample import resampled_length
from worker.audio.segmentation.scan import Scan, scan_range
from worker.audio.segmentation.speech_detector import SpeechDetector
from worker.audio.source import Audio
from worker.audio.voice_activity import PcmFrame, frames_at_once, frames_with_voice
from worker.errors import JobCancelled

PACED_BLOCK_S: Final = 0.25
"""Seconds decoded at a time for paced sessions. A resampler allocates memory for its largest block and never frees it,
and one process may run hundreds of paced sessions. Measured with 44.1 kHz stereo FLAC: blocks of 0.5 s need 190 KB more
for each session and 3 % less CPU time; blocks of 0.1 s save no more memory."""

Piece = tuple[int, int | None]
"""A range of a source: (start, end) in samples at the wire rate (see `frames`), `end` excluded. If `end` is None, the
range continues to the end of the source."""


def within(pieces: Sequence[Piece], start: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of `pieces` between two positions, in order. Skipped ranges are not included."""
    parts = ((max(start, first), end if last is None else min(end, last)) for first, last in pieces)
    return [(first, last) for first, last in parts if last > first]


class FrameFeed:
    """An iterator over the PCM frames of a source. `seek` moves the iterator to any position. `push_back` returns a
    frame to the iterator, which yields it again. Positions are in samples at `rate` Hz."""

    def __init__(self, source: Audio, rate: int, frame_samples: int, pieces: Sequence[Piece] = ((0, None),)) -> None:
        """`pieces`: the ranges of the source to stream, in order. No frame contains samples of two ranges.
        `frame_samples`: samples per frame."""
        self._source = source
        self._rate = rate
        self._frame_samples = frame_samples
        self._pieces = tuple(pieces)
        self._frames: Iterator[PcmFrame] = iter(())
        self._returned: PcmFrame | None = None
        self._until: int | None = None
        self._declared_end: int | None = None
        self.position = -1
        """Start of the next frame; -1 before the first `seek`."""
        self.exhausted = False

    @property
    def at_declared_end(self) -> bool:
        """Whether all samples of the ranges to stream were yielded. If the last range has no end, the header of the
        source decides; False if it declares no length."""
        return self._declared_end is not None and self.position >= self._declared_end

    def _expected_end(self) -> int | None:
        info, last = self._source.info, self._pieces[-1][1]
        ends = [at for at in (last, self._until) if at is not None]
        if not ends and info.frames is not None:
            ends.append(resampled_length(info.frames, info.sample_rate, self._rate))
        streamed = within(self._pieces, 0, min(ends)) if ends else []
        return streamed[-1][1] if streamed else min(ends, default=None)

    async def seek(self, position: int, until: int | None = None) -> None:
        """Move to `position`, forward or backward. If `position` is between two of the ranges to stream (`pieces`), the
        next frame is at the start of the later range. `until`: position at which the frames end, or None for the end of
        the source.

        Decoding runs in a thread, because codecs without exact seek must decode all earlier audio first. Raises
        DamagedSource if nothing can be decoded."""
        if position == self.position and until == self._until:
            return
        self._until = until
        self._declared_end = self._expected_end()
        self._frames = self._from(position)
        self._returned, self.exhausted, self.position = None, False, position
        first = await asyncio.to_thread(next, self._frames, None)
        if first is None:
            self.exhausted = True
        else:
            self._returned = first

    async def scan(self, start_s: float, end_s: float, detector: SpeechDetector | None) -> Scan:
        """Scan the seconds `start_s` to `end_s` of the source, in a thread. Call `seek` before reading further
        frames."""
        stopped = threading.Event()

        def check() -> None:
            if stopped.is_set():
                raise JobCancelled("stopped while audio without text was scanned")

        self._frames, self._returned, self.position = iter(()), None, -1
        try:
            return await asyncio.to_thread(scan_range, self._source, start_s, end_s, detector, check)
        except asyncio.CancelledError:
            stopped.set()
            raise

    def push_back(self, frame: PcmFrame) -> None:
        """Return a frame that was not sent. The iterator yields it next."""
        self._returned, self.position = frame, frame.file_start

    def __iter__(self) -> FrameFeed:
        return self

    def __next__(self) -> PcmFrame:
        frame, self._returned = self._returned, None
        if frame is None:
            frame = next(self._frames, None)
        if frame is None:
            self.exhausted = True
            raise StopIteration
        self.position = frame.file_start + frame.samples
        return frame

    def _from(self, position: int) -> Iterator[PcmFrame]:
        stored = self._source.info.sample_rate == self._rate
        at_once = frames_at_once(self._frame_samples, self._rate, stored=stored)
        chunk = self._frame_samples * at_once
        length, block_s = chunk, None
        if self._frame_samples < self._rate and not stored:
            # A random first length spreads the decoding of sessions that began together; otherwise all of them would
            # decode at the same moments.
            length = self._frame_samples * random.randint(1, at_once)  # noqa: S311
            block_s = PACED_BLOCK_S
        for start, last in self._pieces:
            first = max(start, position)
            ends = [at for at in (last, self._until) if at is not None]
            end = min(ends) if ends else None
            if end is not None and end <= first:
                continue
            pcm = wire_frames(
                self._source, self._rate, chunk, first / self._rate, first_samples=length, block_s=block_s
            )
            if end is not None:
                pcm = _first(pcm, end - first)
            yield from frames_with_voice(pcm, first, self._rate, self._frame_samples)


def _first(chunks: Iterator[bytes], samples: int) -> Iterator[bytes]:
    """Yield the first `samples` samples of consecutive chunks of PCM."""
    left = samples * BYTES_PER_SAMPLE
    for chunk in chunks:
        if len(chunk) >= left:
            yield chunk[:left]
            return
        left -= len(chunk)
        ready = [chunk]
        del chunk  # see `pcm_frames`: a waiting generator refers to no audio
        yield ready.pop()
