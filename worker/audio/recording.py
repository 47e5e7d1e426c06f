"""One source, planned and ready to be read by several sections at the same time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from worker.audio.codings import seeks_exactly
from worker.audio.decode import open_source
from worker.audio.feed import FrameFeed, Piece
from worker.audio.sections import Cutting, Plan, SectionPlan, plan, sections_for, whole
from worker.audio.skipping import Skipping
from worker.audio.source import Audio, AudioInfo
from worker.audio.speech import SpeechDetector
from worker.audio.spool import Spool
from worker.errors import SourceError

Progress = Callable[[float], None]


class Recording:
    """Made by `open_recording`; close it, or use it as a context manager. `info` is what the header says."""

    def __init__(
        self, path: Path, info: AudioInfo, plan: Plan, *, first: Audio | None = None, spool: Spool | None = None
    ) -> None:
        self.path = path
        self.info = info
        self.plan = plan
        self._first = first
        self._spool = spool
        self._readers: list[Audio] = []
        self._warnings: list[str] = []

    def feed(self, section: SectionPlan, frame_samples: int) -> FrameFeed:
        """The frames of one section, decoded by a reader of its own; opens the file. Raises SourceError."""
        pieces: tuple[Piece, ...] = self.plan.pieces(section) if self.plan.measured else ((0, None),)
        return FrameFeed(self._reader(), self.plan.rate, frame_samples, pieces)

    def _reader(self) -> Audio:
        if self._spool is not None:
            return self._spool.reader()
        reader: Audio = self._first or open_source(self.path)
        self._first = None
        self._readers.append(reader)
        return reader

    @property
    def duration_s(self) -> float:
        """As measured; as the header says, or as far as it was read, where no plan was made."""
        if self.plan.measured or self.info.frames is not None:
            return self.plan.duration / self.plan.rate
        return max((reader.frames_decoded / reader.info.sample_rate for reader in self._readers), default=0.0)

    def read_to_the_end(self) -> None:
        """Every section was streamed to its end: only now the length of a source without a plan is known."""
        if not self.plan.measured and self._readers:
            reader = self._readers[-1]
            samples = round(reader.frames_decoded / reader.info.sample_rate * self.plan.rate)
            self.plan = Plan(self.plan.rate, samples, (SectionPlan(0, samples),))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the source, each once."""
        return tuple(dict.fromkeys([*self._warnings, *(text for reader in self._readers for text in reader.warnings)]))

    def warn(self, *texts: str) -> None:
        self._warnings += texts

    def close(self) -> None:
        if self._first is not None:
            self._first.close()
        for reader in self._readers:
            reader.close()
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_recording(
    path: Path,
    rate: int,
    *,
    cutting: Cutting,
    skipping: Skipping | None = None,
    detector: SpeechDetector | None = None,
    made: Plan | None = None,
    progress: Progress,
    accept: Callable[[AudioInfo], None] = lambda _: None,
) -> Recording:
    """Open a source for a wire rate of `rate` Hz and plan it; `made` is the plan of an earlier attempt, which is kept.

    Blocks the thread: what is to be cut, or searched for silence, is read once. `progress` is told the seconds read,
    and may raise to end it; so may `accept`, which is told what the header says. Raises SourceError.
    """
    with ExitStack() as stack:
        source = open_source(path)
        stack.callback(source.close)
        info = source.info
        accept(info)
        if made is None and skipping is None and _is_one_section(info, cutting):
            made = whole(info, rate)
        if made is not None and not made.measured:
            stack.pop_all()
            return Recording(path, info, made, first=source)
        spool: Spool | None = None
        try:
            if not _seeks_exactly(info):
                spool = Spool(path, rate)
                stack.callback(spool.close)
                spool.fill(source, progress)
        except OSError as exc:
            room = f"{tempfile.gettempdir()} has no room for the decoded audio of {path} ({exc.strerror})"
            if made is not None:
                raise SourceError(f"{room}: free some, or set TMPDIR to a folder that has") from exc
            if spool is not None:
                spool.close()
            stack.pop_all()
            recording = Recording(path, info, whole(info, rate), first=source)
            recording.warn(f"streamed whole, in one section: {room}")
            return recording
        if made is None:
            read = spool.reader() if spool is not None else source
            made = plan(read, rate=rate, cutting=cutting, skipping=skipping, detector=detector, progress=progress)
        recording = Recording(path, info, made, spool=spool)
        recording.warn(*source.warnings)
        stack.pop_all()
        source.close()
        return recording


def _is_one_section(info: AudioInfo, cutting: Cutting) -> bool:
    if cutting.sessions == 1:
        return True
    return info.duration_s is not None and sections_for(info.duration_s, cutting) == 1


def _seeks_exactly(info: AudioInfo) -> bool:
    return info.frames is not None and seeks_exactly(info.format.rpartition("/")[2])
