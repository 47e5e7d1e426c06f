"""Opens one part of a file with libsndfile, or with FFmpeg if that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import numpy as np

from worker.audio.decoding.ffmpeg_blocks import MediaBlocks
from worker.audio.decoding.ffmpeg_container import MediaContainer, is_installed
from worker.audio.decoding.libsndfile import SndfileStream
from worker.audio.decoding.libsndfile_faults import FilePart
from worker.audio.decoding.reader_errors import SndfileRefused
from worker.audio.decoding.stream_timeline import TimedBlock
from worker.audio.opened_file import SourceFile
from worker.audio.source import AudioInfo
from worker.audio.undecoded_ranges import UndecodedLog
from worker.errors import DamagedSource, NoSuchTrack, UnsupportedSource

_BLOCK_S: Final = 1.0


class PartReader(Protocol):
    """An open part of a file."""

    info: AudioInfo
    track: int
    """The audio track that is read, from 1."""
    shorter_by_s: float
    """How many seconds before the end of the longest track of the part the track ends."""

    def blocks(self) -> Iterator[TimedBlock]:
        """Yield mono blocks, with timestamps if the container has them; may be called once."""
        ...

    def close(self) -> None: ...


def open_part(
    path: SourceFile,
    part: FilePart,
    channel: int | None,
    warn: Callable[[str], None],
    undecoded: UndecodedLog,
    before_s: float = 0.0,
    track: int | None = None,
) -> PartReader:
    """Open one part of a file.

    `channel`: from 0, or None to mix all channels. `before_s`: seconds of the file before this part. `track`: from 1,
    or None. If the part has no such track, silence of the length of its default track is read. Raises SndfileRefused if
    neither library opens the part."""
    is_absent = track is not None and track > 1
    try:
        # The damage of another track is not reported.
        stream = SndfileStream(path, part, warn, UndecodedLog() if is_absent else undecoded, before_s)
    except SndfileRefused as refused:
        if not is_installed():
            raise
        try:
            return _open_media_part(path, part, channel, warn, track)
        except (UnsupportedSource, DamagedSource):
            raise refused from None
    return _SilentPart(_SndfilePart(stream, None, warn), warn) if is_absent else _SndfilePart(stream, channel, warn)


def _open_media_part(
    path: SourceFile, part: FilePart, channel: int | None, warn: Callable[[str], None], track: int | None
) -> PartReader:
    try:
        return _MediaPart(MediaContainer(path, part, track=track), channel, warn)
    except NoSuchTrack:
        return _SilentPart(_MediaPart(MediaContainer(path, part), None, warn), warn)


class _SndfilePart:
    def __init__(self, stream: SndfileStream, channel: int | None, warn: Callable[[str], None]) -> None:
        self.info, self.track, self.shorter_by_s = stream.info, 1, 0.0
        self._stream, self._channel, self._warn = stream, channel, warn

    def blocks(self) -> Iterator[TimedBlock]:
        channel, channels = self._channel, self.info.channels
        is_absent = channel is not None and channel >= channels
        if is_absent:
            self._warn(f"has only {channels} channels in some stretches; channel {(channel or 0) + 1} is silent there")
        for block in self._stream.blocks(_BLOCK_S, None if is_absent else channel, stored=False):
            samples = np.zeros(len(block), np.float32) if is_absent else block
            yield TimedBlock(None, self.info.sample_rate, np.asarray(samples, np.float32))

    def close(self) -> None:
        self._stream.close()


class _MediaPart:
    def __init__(self, opened: MediaContainer, channel: int | None, warn: Callable[[str], None]) -> None:
        self.info, self.track, self.shorter_by_s = opened.info, opened.track, opened.shorter_by_s
        self._opened, self._channel, self._warn = opened, channel, warn

    def blocks(self) -> Iterator[TimedBlock]:
        for block in MediaBlocks(self._opened, self._channel, self._warn):
            # For Ogg, the timestamps come from `FilePart.shifts` instead (see `concatenated_files`).
            start_s = None if self.info.format.startswith("OGG/") else block.start_s
            yield TimedBlock(start_s, block.rate, block.samples, block.lost)

    def close(self) -> None:
        self._opened.close()


class _SilentPart:
    """Silence in place of a track that the part does not have. `other`: the track whose length the silence has."""

    def __init__(self, other: PartReader, warn: Callable[[str], None]) -> None:
        self.info, self.track, self.shorter_by_s = other.info, other.track, other.shorter_by_s
        self._other, self._warn = other, warn

    def blocks(self) -> Iterator[TimedBlock]:
        tracks = "one audio track" if len(self.info.tracks) < 2 else f"{len(self.info.tracks)} audio tracks"
        self._warn(f"has only {tracks} in some stretches; the chosen track is silent there")
        for block in self._other.blocks():
            yield TimedBlock(block.start_s, block.rate, np.zeros_like(block.samples))

    def close(self) -> None:
        self._other.close()
