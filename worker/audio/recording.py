"""Opens a source and plans its sections. The sections are then read at the same time."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType

from worker.audio.channel_selection import ALL_MIXED, ChannelSelection
from worker.audio.decoded_disk_space import UNBOUNDED, DecodedSpace, JobSpace, SpaceInUse, TooLarge
from worker.audio.decoding.decode import open_source
from worker.audio.file_formats.coding_names import seeks_exactly
from worker.audio.forward_reader import ForwardReader
from worker.audio.frame_feed import FrameFeed, Piece
from worker.audio.opened_file import SourceFile, as_source_file
from worker.audio.pcm_frames import BYTES_PER_SAMPLE
from worker.audio.pcm_spool import PcmSpool
from worker.audio.segmentation.channel_plans import plan_channels
from worker.audio.segmentation.scan import scan
from worker.audio.segmentation.section_plan import CutOptions, SectionPlan, StreamingPlan, plan, sections_for, whole
from worker.audio.segmentation.silence import SkipOptions
from worker.audio.segmentation.speech_detector import SpeechDetector
from worker.audio.source import Audio, AudioInfo
from worker.audio.undecoded_ranges import UndecodedRange
from worker.audio.warning_log import merged
from worker.errors import SourceError, WorkerShortage
from worker.transient_os_errors import raise_shortage

Progress = Callable[[float], None]
Spools = Mapping[int | None, PcmSpool]
"""The decoded audio of each streamed channel. Keys: channel of the source (from 0), or None for the mix of all
channels."""


class Recording:
    """An open source with its plans. Created by `open_recording`; close it, or use it as a context manager.

    `info` comes from the header. `plans` has one plan, or one per channel if channels are streamed separately. Sections
    are numbered from 0 across all plans.
    """

    def __init__(
        self,
        path: SourceFile,
        info: AudioInfo,
        plans: Sequence[StreamingPlan],
        *,
        first: Audio | None = None,
        spools: Spools | None = None,
        selection: ChannelSelection = ALL_MIXED,
    ) -> None:
        """`selection`: the result of `ChannelSelection.for_tracks` for this source."""
        self.path = path
        self.info = info
        self.selection = selection
        self.plans = tuple(plans)
        self.rate = self.plans[0].rate
        self.streamed_whole = False
        """Whether the source is streamed in one section because the disk has no room for its decoded audio."""
        self._first = first
        self._spools = dict(spools or {})
        self._readers: dict[int | None, list[Audio]] = {}
        self._second_readers: list[Audio] = []
        self._warnings: list[str] = []
        self._undecoded: dict[int | None, tuple[UndecodedRange, ...]] = {}

    @property
    def sections(self) -> list[tuple[StreamingPlan, SectionPlan]]:
        """All sections in order, each as (its plan, section)."""
        return [(plan, section) for plan in self.plans for section in plan.sections]

    @property
    def channels(self) -> list[range]:
        """For each plan, the range of its section numbers."""
        ends = [0, *accumulate(len(plan.sections) for plan in self.plans)]
        return [range(first, last) for first, last in pairwise(ends)]

    def feed(self, number: int, frame_samples: int) -> FrameFeed:
        """Create a feed of the frames of section `number`, with a new reader. `frame_samples`: samples per frame at the
        wire rate. Raises SourceError."""
        plan, _ = self.sections[number]
        return FrameFeed(self._reader(plan.channel), self.rate, frame_samples, self.pieces(number))

    def pieces(self, number: int) -> tuple[Piece, ...]:
        """Return the ranges of the source that section `number` streams, in order."""
        plan, section = self.sections[number]
        return plan.pieces(section) if plan.measured else ((0, None),)

    @property
    def is_slow_to_reread(self) -> bool:
        """Whether all earlier audio must be decoded again to read a part of the source."""
        return not self._spools and not _seeks_exactly(self.info)

    def second_feed(self, number: int, frame_samples: int) -> FrameFeed:
        """Create another feed of section `number`, to read parts of the section again, in order of time if possible
        (see `ForwardReader`). The second reading does not change `duration_s`, `warnings` and `undecoded`. Raises
        SourceError."""
        plan, _ = self.sections[number]
        if plan.channel in self._spools:
            reader: Audio = self._spools[plan.channel].reader()
        else:
            # Stored separately from the readers of the first pass, whose warnings and lengths describe the whole
            # source.
            reader = ForwardReader(open_source(self.path, *self.selection.reader_of(plan.channel)))
            self._second_readers.append(reader)
        return FrameFeed(reader, self.rate, frame_samples, self.pieces(number))

    def _reader(self, channel: int | None) -> Audio:
        if channel in self._spools:
            return self._spools[channel].reader()
        # The first section uses the reader that planning opened; opening a source twice costs a scan of some formats.
        reader: Audio = self._first or open_source(self.path, *self.selection.reader_of(channel))
        self._first = None
        self._readers.setdefault(channel, []).append(reader)
        return reader

    @property
    def duration_s(self) -> float:
        """Length of the longest channel in seconds."""
        return max(self.lengths_s)

    @property
    def lengths_s(self) -> tuple[float, ...]:
        """Length of the channel of each plan in seconds. Channels that are audio tracks have different lengths. The
        measured length is used if it is known, otherwise the length in the header, otherwise the length of the audio
        that was read so far."""
        return tuple(self._length_s(plan) for plan in self.plans)

    def _length_s(self, plan: StreamingPlan) -> float:
        if plan.measured or plan.duration:
            return plan.duration / self.rate
        readers = self._readers.get(plan.channel, [])
        return max((reader.frames_decoded / reader.info.sample_rate for reader in readers), default=0.0)

    def measure_length(self, number: int) -> None:
        """Replace the plan of a source whose length is not known exactly by a plan with the real length. Call it when
        section `number` has been read to its end."""
        of, _ = self.sections[number]
        # Only for plans without a scan, because all other plans have a measured length.
        if not of.measured and (readers := self._readers.get(of.channel)):
            reader = readers[-1]
            samples = round(reader.frames_decoded / reader.info.sample_rate * self.rate)
            known = StreamingPlan(self.rate, samples, (SectionPlan(0, samples),), channel=of.channel)
            self.plans = tuple(known if plan is of else plan for plan in self.plans)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user. Planning and streaming both read the audio. A fault that both of them find is listed
        once."""
        read = (text for some in self._readers.values() for reader in some for text in reader.warnings)
        return merged(self._warnings, read)

    def warn(self, *texts: str) -> None:
        self._warnings += texts

    @property
    def undecoded(self) -> dict[int | None, tuple[UndecodedRange, ...]]:
        """Ranges that could not be decoded, by channel of the source (from 0, or None for the mix of all channels)."""
        read = {channel: readers[-1].undecoded for channel, readers in self._readers.items() if readers}
        # The ranges from planning come last and replace those from streaming, because planning read the whole source.
        return {**read, **self._undecoded}

    def add_undecoded_ranges(self, found: Mapping[int | None, tuple[UndecodedRange, ...]]) -> None:
        """Add the ranges that planning found. The readers of planning are closed before the sections are streamed."""
        self._undecoded.update({channel: stretches for channel, stretches in found.items() if stretches})

    def close(self) -> None:
        if self._first is not None:
            self._first.close()
        for some in (*self._readers.values(), self._second_readers):
            for reader in some:
                reader.close()
        for spool in self._spools.values():
            spool.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_recording(
    path: SourceFile | Path,
    rate: int,
    *,
    cutting: CutOptions,
    skipping: SkipOptions | None = None,
    detector: SpeechDetector | None = None,
    selection: ChannelSelection = ALL_MIXED,
    earlier_plans: Sequence[StreamingPlan] | None = None,
    progress: Progress,
    accept: Callable[[AudioInfo], None] = lambda _: None,
    space: DecodedSpace = UNBOUNDED,
) -> Recording:
    """Open a source for a wire rate of `rate` Hz and plan its sections. If `earlier_plans` (the plans of an earlier
    attempt) are given, they are used unchanged.

    Blocks the thread. If the audio is cut or searched for silence, the source is read once, or once for each channel
    that is streamed separately. `progress` receives the number of seconds read so far, and `accept` receives the values
    of the header. Both may raise an exception to stop. `space` limits the disk space of decoded audio: a source that
    needs more is streamed in one section, without a decoded file. Raises SourceError, WorkerShortage while other jobs
    use the space, BadJob if `earlier_plans` have other channels or another track than `selection`.
    """
    path = as_source_file(path)
    with ExitStack() as reading, ExitStack() as kept:
        source = kept.enter_context(open_source(path, track=selection.first_track))
        info = source.info
        # This is called before any decoding, so that the caller can refuse sources that are too long or have too many
        # channels.
        accept(info)
        selection = selection.for_tracks(info.tracks, path)
        channels = selection.channels_in(selection.count_in(info), path)
        made = earlier_plans
        if made is not None:
            selection.check_unchanged([plan.channel for plan in made], channels, path, made[0].track)
        elif skipping is None and channels == (None,) and _is_one_section(info, cutting):
            made = (replace(whole(info, rate), track=selection.track),)
        if made is not None and channels == (None,) and not made[0].measured:
            # The recording owns the reader from here on and closes it.
            kept.pop_all()
            return _warned(Recording(path, info, made, first=source, selection=selection))
        reading.push(kept.pop_all())
        readers: dict[int | None, Audio] = {None: source}
        if channels != (None,):
            readers = {c: reading.enter_context(open_source(path, *selection.reader_of(c))) for c in channels}
        spools: dict[int | None, PcmSpool] = {}
        try:
            # After an inexact seek a section would begin too early or late, and words at cuts would be lost or doubled.
            if not _seeks_exactly(info) and (made is None or all(plan.measured for plan in made)):
                spools = _decoded(path, info, rate, readers, space.for_job(), kept, progress)
        except TooLarge as exc:
            # With several sections and no decoded file, each section would decode all earlier audio again.
            if made is None:
                return _streamed_whole(path, info, rate, readers, selection, str(exc))
        except OSError as exc:
            reason = f"{tempfile.gettempdir()} has no room for the decoded audio of {path} ({exc.strerror})"
            # If there are plans of an earlier attempt, the ledger may contain commits whose section numbers refer to
            # these plans.
            if made is not None or exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise_shortage(exc, str(path))
                raise SourceError(f"{reason}: free some space, or set TMPDIR to a folder on a larger disk") from exc
            return _streamed_whole(path, info, rate, readers, selection, reason)
        if made is None:
            read = {channel: spools[channel].reader() if spools else reader for channel, reader in readers.items()}
            made = _plans(read, rate, cutting, skipping, detector, progress)
            if spools:  # all audio was decoded, so the length is known even if the header is wrong
                made = tuple(replace(plan, measured=True) for plan in made)
            made = tuple(replace(plan, track=selection.track) for plan in made)
        recording = Recording(path, info, made, spools=spools, selection=selection)
        # The readers of planning are closed below, so their findings are copied.
        recording.warn(*(text for reader in readers.values() for text in reader.warnings))
        recording.add_undecoded_ranges({channel: reader.undecoded for channel, reader in readers.items()})
        kept.pop_all()
        return _warned(recording)


def _decoded(
    path: SourceFile,
    info: AudioInfo,
    rate: int,
    readers: Mapping[int | None, Audio],
    space: JobSpace,
    exit_stack: ExitStack,
    progress: Progress,
) -> dict[int | None, PcmSpool]:
    """Decode the audio of each reader completely to a file on the disk (a spool). `exit_stack` closes the spools.
    Raises TooLarge, WorkerShortage, OSError."""
    spools: dict[int | None, PcmSpool] = {}
    try:
        # Each reader has its own length, because audio tracks have different lengths.
        space.expect(sum(reader.info.duration_s or 0.0 for reader in readers.values()) * rate * BYTES_PER_SAMPLE)
        for channel, reader in readers.items():
            spools[channel] = spool = PcmSpool(path, rate, space)
            exit_stack.callback(spool.close)
            spool.fill(reader, progress)
    except SpaceInUse as exc:
        raise WorkerShortage(f"{path}: cannot be decoded now: {exc}") from exc
    except TooLarge:
        for spool in spools.values():
            spool.close()
        raise
    return spools


def _streamed_whole(
    path: SourceFile,
    info: AudioInfo,
    rate: int,
    readers: Mapping[int | None, Audio],
    selection: ChannelSelection,
    reason: str,
) -> Recording:
    """Create a recording without decoded audio on the disk. It has one section, or one per channel.
    `readers`: a reader of each channel, for the length in its header."""
    plans = [
        replace(whole(reader.info, rate), channel=channel, track=selection.track) for channel, reader in readers.items()
    ]
    recording = Recording(path, info, plans, selection=selection)
    recording.streamed_whole = True
    recording.warn(f"streamed whole, in one section{'' if None in readers else ' for each channel'}: {reason}")
    return _warned(recording)


def _warned(recording: Recording) -> Recording:
    recording.warn(*recording.selection.warnings(recording.selection.count_in(recording.info)))
    return recording


def _plans(
    readers: Mapping[int | None, Audio],
    rate: int,
    cutting: CutOptions,
    skipping: SkipOptions | None,
    detector: SpeechDetector | None,
    progress: Progress,
) -> tuple[StreamingPlan, ...]:
    if None in readers:
        mixed = readers[None]
        return (plan(mixed, rate=rate, cutting=cutting, skipping=skipping, detector=detector, progress=progress),)
    found = {channel: scan(reader, detector, progress) for channel, reader in readers.items() if channel is not None}
    return plan_channels(found, rate, cutting, skipping, detector.name if detector is not None else "level")


def _is_one_section(info: AudioInfo, cutting: CutOptions) -> bool:
    # Cutting has no use for a single session, because the sections would be streamed one after the other.
    if cutting.sessions == 1:
        return True
    return info.duration_s is not None and sections_for(info.duration_s, cutting) == 1


def _seeks_exactly(info: AudioInfo) -> bool:
    return info.frames is not None and seeks_exactly(info.format.rpartition("/")[2])
