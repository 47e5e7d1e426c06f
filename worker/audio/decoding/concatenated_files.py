"""Reads files that consist of several recordings in sequence, with different codecs, rates and channels.

Examples are podcasts with adverts, joined MP3 files and chained Ogg streams. Each part is read by libsndfile, or by
FFmpeg if libsndfile refuses the part. A part that neither library decodes is replaced by silence of the same length.
All parts are reduced to one channel and resampled to the highest rate of all parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import numpy as np

from worker.audio.audio_tracks import check_track, choice_warning
from worker.audio.decoding.downmix import Samples
from worker.audio.decoding.equal_blocks import regrouped
from worker.audio.decoding.libsndfile_faults import FilePart, ReadPlan
from worker.audio.decoding.part_readers import PartReader, open_part
from worker.audio.decoding.rate_changes import RateConverter
from worker.audio.decoding.reader_base import ReaderBase
from worker.audio.decoding.stream_timeline import StreamTimeline, TimedBlock
from worker.audio.opened_file import SourceFile
from worker.audio.source import AudioInfo
from worker.errors import DamagedSource, SourceError

_BLOCK_S: Final = 1.0
_SHORTER_S: Final = 0.5
"""A part is reported as damaged if it is shorter than declared by more than this and by more than 1 %."""
_TIMED_BLOCK_S: Final = 0.02
"""Block length of parts with timestamps. It is short because gaps and drift are corrected between blocks."""


class ConcatenatedSource(ReaderBase):
    """A file that consists of several parts, read as one source."""

    def __init__(self, path: SourceFile, plan: ReadPlan, channel: int | None = None, track: int | None = None) -> None:
        """`channel`: from 0, or None to mix all channels. `track`: the track to read in each part (from 1), or None for
        the default track of each part. A part without this track is silent. Raises NoSuchTrack if no part has the
        track, and the SourceError of the first part if no part can be opened."""
        super().__init__(path, plan.warnings)
        self._parts = plan.parts
        self._channel = channel
        self._track = track
        self._shorter_by_s: dict[int, float] = {}
        self.info = self._common_info()

    def _common_info(self) -> AudioInfo:
        """Return the highest rate and channel count of all parts, so that no part loses information. If several parts
        have the same `form`, only one of them is opened."""
        found: list[AudioInfo] = []
        refused: SourceError | None = None
        forms: set[object] = set()
        for part in self._parts:
            if part.damage or (part.form and part.form in forms):
                continue
            try:
                with closing(self._open(part, 0.0)) as reader:
                    found.append(reader.info)
                    self._shorter_by_s[part.start] = reader.shorter_by_s
                    if self._track is None and (text := choice_warning(reader.info.tracks, reader.track)) is not None:
                        self._warn(text)
            except SourceError as exc:
                refused = refused or exc
            else:
                forms.add(part.form)
        if not found:
            raise refused or DamagedSource(f"{self.path}: contains no audio")
        rate, channels = max(info.sample_rate for info in found), max(info.channels for info in found)
        tracks = max((info.tracks for info in found), key=len)
        check_track(self._track, tracks, self.path)
        return AudioInfo(rate, channels, None, found[0].format, tracks)

    def blocks(self, start_frame: int = 0, block_s: float = _BLOCK_S) -> Iterator[Samples]:
        """See `ReaderBase.blocks`. All audio before `start_frame` is also decoded, and then dropped."""
        self._begin(start_frame, block_s)
        size = max(1, round(block_s * self.info.sample_rate))
        yield from self._counted(regrouped(self._mono(), size), start_frame)

    def _mono(self) -> Iterator[Samples]:
        """Yield the signal of all parts at the common rate."""
        one_rate, at_s = RateConverter(self.info.sample_rate), 0.0
        refusals: list[SourceError] = []
        for part in self._parts:
            start_s, timeline = at_s, StreamTimeline(part.length_s, self._warn)
            blocks = timeline.place(self._part_blocks(part, at_s, refusals))
            at_s = yield from self._at_one_rate(blocks, one_rate, start_s)
            self._check_length(part, start_s, at_s)
            if part is not self._parts[-1]:
                # The next part begins after the longest track, so that the times of all tracks agree.
                for silence in self._zeros(self._shorter_by_s.get(part.start, 0.0)):
                    at_s += len(silence) / self.info.sample_rate
                    yield from one_rate.feed(self.info.sample_rate, silence)
        yield from one_rate.flush()
        if len(refusals) == sum(not part.damage for part in self._parts):
            raise refusals[0]

    def _check_length(self, part: FilePart, start_s: float, end_s: float) -> None:
        declared_s = part.length_s or 0.0
        if end_s - start_s < declared_s - max(_SHORTER_S, declared_s * 0.01):
            self._warn(
                f"cut off or damaged from {start_s:.1f} s on: {declared_s:.1f} s were expected there, "
                f"{end_s - start_s:.1f} s could be decoded"
            )

    def _part_blocks(self, part: FilePart, at_s: float, refusals: list[SourceError]) -> Iterator[TimedBlock]:
        if part.damage:
            yield from self._silence(part, at_s, part.damage)
            return
        try:
            reader = self._open(part, at_s)
        except SourceError as exc:
            refusals.append(exc)
            yield from self._silence(part, at_s, str(exc).removeprefix(f"{self.path}: "))
            return
        with closing(reader):
            yield from _timed(reader.blocks(), part)

    def _silence(self, part: FilePart, at_s: float, reason: str) -> Iterator[TimedBlock]:
        if part.length_s is None:
            self._warn(f"a part of unknown length at {at_s:.1f} s could not be decoded: {reason}")
            self._undecoded.add_unmeasured(at_s, reason)
            return
        self._warn(f"{part.length_s:.1f} s from {at_s:.1f} s on could not be decoded: {reason}")
        self._undecoded.add(at_s, at_s + part.length_s, reason)
        for silence in self._zeros(part.length_s):
            yield TimedBlock(None, self.info.sample_rate, silence)

    def _zeros(self, length_s: float) -> Iterator[Samples]:
        """Yield silence in blocks of at most a second."""
        count = round(length_s * self.info.sample_rate)
        for done in range(0, count, self.info.sample_rate):
            yield np.zeros(min(self.info.sample_rate, count - done), np.float32)

    def _open(self, part: FilePart, before_s: float) -> PartReader:
        return open_part(self.path, part, self._channel, self._warn, self._undecoded, before_s, self._track)


def _timed(blocks: Iterator[TimedBlock], part: FilePart) -> Iterator[TimedBlock]:
    """Yield the blocks with timestamps that are computed from `FilePart.shifts`. Blocks are cut at the positions of the
    shifts. If there are no shifts, the blocks do not change."""
    if not part.shifts:
        yield from blocks
        return
    shifts, at, shift_s = deque(part.shifts), 0, 0.0
    for block in blocks:
        rate, done = block.rate, 0
        while done < len(block.samples):
            while shifts and at >= round(shifts[0][0] * rate):
                _, shift_s, damage = shifts.popleft()
                if damage:
                    yield TimedBlock(None, rate, block.samples[:0], damage)
            end = done + max(1, round(_TIMED_BLOCK_S * rate))
            if shifts:
                end = min(end, done + round(shifts[0][0] * rate) - at)
            samples = block.samples[done:end]
            yield TimedBlock(at / rate + shift_s, rate, samples, block.lost)
            at, done = at + len(samples), end
