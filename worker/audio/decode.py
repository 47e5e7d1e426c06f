"""Opens an audio file and yields its samples as mono blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, cast

from worker.audio.downmix import Pcm16, Samples
from worker.audio.parts import Part, Plan, plan_of
from worker.audio.sndfile import SndfileStream
from worker.audio.source import Audio, AudioInfo, check_readable
from worker.audio.undecoded import Undecoded, UndecodedLog
from worker.errors import DamagedSource, UnsupportedSource

_RATES: Final = range(1000, 1_000_001)
_MAX_WARNINGS: Final = 20

__all__ = ["AudioInfo", "AudioSource", "open_source"]


class AudioSource:
    """An open audio file. Get it from `open_source`; close it, or use it as a context manager.

    `info` is what the header says. `frames_decoded` and `warnings` grow while `blocks` runs: after its end,
    `frames_decoded` is the exact length of the source in samples per channel, whatever the header said.
    """

    def __init__(self, path: Path, channel: int | None = None, plan: Plan | None = None) -> None:
        """`plan`: as `plan_of` gives it, with one part at most."""
        self.path = path
        self.frames_decoded = 0
        self._channel = channel
        self._warnings: list[str] = []
        self._undecoded = UndecodedLog()
        check_readable(path)
        plan = plan or plan_of(path)
        for text in plan.warnings:
            self._warn(text)
        self._part: Part | None = plan.parts[0] if plan.parts else None
        self._closed = False
        self._stream: SndfileStream | None = self._opened()
        self.info = info = self._stream.info
        if info.frames == 0 or info.sample_rate not in _RATES:
            self.close()
            fault = "holds no audio" if info.frames == 0 else f"gives a sample rate of {info.sample_rate} Hz"
            raise DamagedSource(f"{path}: has an audio header, but it {fault}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the source, each once: damage, a wrong header, samples that are not numbers."""
        return tuple(self._warnings)

    @property
    def undecoded(self) -> tuple[Undecoded, ...]:
        """Stretches of known length that could not be decoded, as far as it was read."""
        return self._undecoded.stretches

    def _warn(self, text: str) -> None:
        if text not in self._warnings and len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(text)

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """Yield the samples from `start_frame` (of the source's rate) to the end, mono float32[n], full scale 1.0.

        Channels are mixed with equal weights, unless it was opened for one. Blocks are at most `block_s` seconds long,
        the caller's to keep. One iteration at a time; another one starts anew. Raises DamagedSource when nothing can be
        decoded; damage further on is passed over, in FLAC with silence in its place, and `warnings` tells.
        """
        return cast(Iterator[Samples], self._blocks(start_frame, block_s, stored=False))

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples | Pcm16]:
        """The same, but int16 where 16 bits of one channel are wanted. The next block may overwrite the last one."""
        return self._blocks(start_frame, block_s, stored=True)

    def _blocks(self, start_frame: int, block_s: float, *, stored: bool) -> Iterator[Samples | Pcm16]:
        if start_frame < 0 or block_s <= 0:
            raise ValueError(f"start_frame {start_frame} must not be negative, block_s {block_s} must be positive")
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        if self._stream is None or self._stream.used:
            self._close_stream()
            self._stream = self._opened()
        self._undecoded.clear()
        self.frames_decoded = self._stream.seek_exactly(start_frame)
        skip = start_frame - self.frames_decoded
        for block in self._stream.blocks(block_s, self._channel, stored=stored):
            self.frames_decoded += len(block)
            if skip >= len(block):
                skip -= len(block)
                continue
            yield block[skip:] if skip else block
            skip = 0
        self._check_end()

    def _opened(self) -> SndfileStream:
        return SndfileStream(self.path, self._part, self._warn, self._undecoded)

    def _now_s(self) -> float:
        return self.frames_decoded / self.info.sample_rate

    def _check_end(self) -> None:
        if not self.frames_decoded:
            reason = f" ({self._warnings[-1]})" if self._warnings else ""
            raise DamagedSource(f"{self.path}: nothing in it could be decoded{reason}")
        if self.info.frames is not None and self.frames_decoded < self.info.frames:
            said_s = self.info.frames / self.info.sample_rate
            self._warn(
                f"cut off or damaged: the header promises {said_s:.1f} s, {self._now_s():.1f} s could be decoded"
            )

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        self._close_stream()
        self._closed = True

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_source(path: Path, channel: int | None = None) -> Audio:
    """Open an audio file of any format that libsndfile reads, or FFmpeg where the extra `media` is installed, to read
    all channels mixed, or only `channel` (from 0; the caller knows that there is one).

    Raises SourceNotFound; UnsupportedSource for what neither can read, with the reason and the way out; DamagedSource
    for a broken header or a file without audio; SourceError for what cannot be read at all.
    """
    path = Path(path)
    try:
        check_readable(path)
        plan = plan_of(path)
        if plan.is_joined:
            from worker.audio.joined import JoinedSource  # noqa: PLC0415  seldom needed

            return JoinedSource(path, plan, channel)
        return AudioSource(path, channel, plan)
    except UnsupportedSource as exc:
        from worker.audio.media import open_media  # noqa: PLC0415  seldom needed, and large

        return open_media(path, exc, channel)
