"""Opens one part of a file with libsndfile, or with FFmpeg if that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import numpy as np

from worker.audio.audio_tracks import check_track
from worker.audio.decoding.ffmpeg_blocks import MediaBlocks
from worker.audio.decoding.ffmpeg_container import MediaContainer, is_installed
from worker.audio.decoding.libsndfile import SndfileStream
from worker.audio.decoding.libsndfile_faults import FilePart
from worker.audio.decoding.reader_errors import SndfileRefused
from worker.audio.decoding.stream_timeline import TimedBlock
from worker.audio.opened_file import SourceFile
from worker.audio.source import AudioInfo
from worker.audio.undecoded_ranges import UndecodedLog
from worker.errors import DamagedSource, UnsupportedSource

_BLOCK_S: Final = 1.0


class PartReader(Protocol):
    """An open part of a file."""

    info: AudioInfo
    track: int
    """The audio track that is read, from 1."""

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
    or None. Raises SndfileRefused if neither library opens the part, and NoSuchTrack."""
    try:
        stream = SndfileStream(path, part, warn, undecoded, before_s)
    except SndfileRefused as refused:
        if not is_installed():
            raise
        try:
            return _MediaPart(MediaContainer(path, part, track=track), channel, warn)
        except (UnsupportedSource, DamagedSource):
            raise refused from None
    check_track(track, (), path)
    return _SndfilePart(stream, channel, warn)


class _SndfilePart:
    def __init__(self, stream: SndfileStream, channel: int | None, warn: Callable[[str], None]) -> None:
        self.info, self.track = stream.info, 1
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
        self.info, self.track = opened.info, opened.track
        self._opened, self._channel, self._warn = opened, channel, warn

    def blocks(self) -> Iterator[TimedBlock]:
        for block in MediaBlocks(self._opened, self._channel, self._warn):
            # For Ogg, the timestamps come from `FilePart.shifts` instead (see `concatenated_files`).
            start_s = None if self.info.format.startswith("OGG/") else block.start_s
            yield TimedBlock(start_s, block.rate, block.samples, block.lost)

    def close(self) -> None:
        self._opened.close()
