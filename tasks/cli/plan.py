"""The command `stt-batch plan`, which estimates the time and cost of a batch without sending or writing anything."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from tasks.batches.estimate import BatchEstimate, BatchLimits, SourceProbe, estimate_batch
from tasks.batches.number_format import format_count, format_duration, format_speed
from tasks.batches.summary import JobLine, without_source
from tasks.cli import options
from tasks.cli.sources import find_recordings
from tasks.cli.sources.expand_arguments import opens_media, sources
from tasks.cli.sources.source_table import FoundSource
from tasks.cli.tables import display_path
from tasks.cli.terminal_output import echo, echo_text, safe
from tasks.client.producer import make_spec
from tasks.job_spec import JobState
from worker.audio.channel_selection import ChannelSelection
from worker.audio.decoding.decode import open_source
from worker.audio.segmentation.channel_plans import may_hold_speech, plan_channels
from worker.audio.segmentation.scan import scan
from worker.audio.segmentation.section_plan import CutOptions
from worker.audio.segmentation.section_plan import plan as plan_sections
from worker.audio.segmentation.silence import SkipOptions
from worker.audio.segmentation.silero_model import silero
from worker.audio.source import Audio
from worker.core_count import available_cores
from worker.errors import SourceError
from worker.pipeline.planning_thread import check_channels, check_length
from worker.settings import Settings
from worker.storage.address import show

PROGRESS_EVERY_S: Final = 2.0
MAX_SHOWN: Final = 20


@click.command(short_help="Estimate a batch: hours, sessions, time, cost, failures.")
@options.paths
@click.option("--speech", is_flag=True, help="Read all audio and detect speech; also finds damaged files.")
@click.option(
    "--speed", type=options.SpeedType(), metavar="SPEED", help="Speed at which a session sends audio (or STT_SPEED)."
)
@click.option(
    "--sessions",
    "worker_sessions",
    type=click.IntRange(1, 2000),
    help="Number of sessions at the same time (or STT_WORKER_SESSIONS).",
)
@options.channels
@options.skip_silence
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0),
    help="Price of an hour of streamed audio (or STT_PRICE_PER_HOUR).",
)
@options.left_out
@options.as_json
@click.pass_context
def command(
    ctx: click.Context, /, paths: tuple[str, ...], speech: bool, names_left_out: bool, as_json: bool, **given: Any
) -> None:
    """Estimate a batch before `run` or `submit`: hours of audio and speech, sessions, time at the limits of the
    settings, cost, and the files that will fail with their reasons.

    Reads only the beginning of each file, or whole files with --speech. Sources at addresses are counted but not
    fetched.

    \b
    Examples:
      stt-batch plan recordings/
      stt-batch plan recordings/ --speech --sessions 20 --price-per-hour 0.4
      stt-batch plan list.csv --json

    \b
    Exit codes: 0 all files can be transcribed, 1 some files will fail, 2 wrong usage.
    """
    fields = options.channels_from(given)
    settings = options.settings_from(**given)
    ctx.exit(print_plan(paths, settings, fields, speech=speech, names_left_out=names_left_out, as_json=as_json))


def print_plan(
    paths: tuple[str, ...],
    settings: Settings,
    fields: Mapping[str, Any],
    *,
    speech: bool = False,
    names_left_out: bool = False,
    as_json: bool = False,
) -> int:
    """Print the estimate. Nothing is sent, queued or written. Returns the exit code.

    `fields`: the fields of JobSpec for channels and tracks. `speech`: read all audio and detect speech.
    """
    wanted = ChannelSelection(fields.get("channels", "mix"), fields.get("channel_names", ()), fields.get("track"))
    # If the settings skip silence, speech is detected, because the length of the silence would be unknown otherwise.
    speech = speech or settings.skip_silence
    listing = asyncio.run(sources(paths, settings, media=opens_media()))
    probes, failing = _probe_all(list(listing.found), settings, speech, wanted)
    failing += [_will_fail(show(path), "source_unsupported", "needs the extra `media`") for path in listing.other]
    passed_over = [one for one in listing.left_out if one.source not in listing.other]
    plan = estimate_batch(probes, failing, _limits(settings))
    plan = plan.model_copy(update={"left_out": tuple(find_recordings.as_documents(passed_over))})
    if as_json:
        echo_text(plan.model_dump_json(indent=2))
    else:
        _print_estimate(Console(highlight=False), plan)
        find_recordings.print_left_out(passed_over, everything=names_left_out)
        find_recordings.print_left_out_count(passed_over, everything=names_left_out)
    return 1 if failing else 0


def _limits(settings: Settings) -> BatchLimits:
    max_sessions = settings.api_key_max_sessions or settings.worker_sessions
    known = settings.speed != "auto" and math.isfinite(settings.speed)
    return BatchLimits(
        max_sessions=min(settings.worker_sessions, max_sessions),
        job_max_sessions=settings.job_max_sessions or settings.worker_sessions,
        speed=float(settings.speed) if known else None,
        session_max_s=settings.session_max_s,
        tail_silence_s=settings.tail_silence_min_s,
        skip_silence=settings.skip_silence,
        price_per_hour=settings.price_per_hour,
    )


def _probe_all(
    found: Sequence[FoundSource], settings: Settings, speech: bool, wanted: ChannelSelection
) -> tuple[list[SourceProbe], list[JobLine]]:
    """Probe all sources in parallel. Returns the results and the sources that cannot be transcribed, both in order."""
    probes: list[SourceProbe] = []
    failing: list[JobLine] = []
    progress_at = time.monotonic() + PROGRESS_EVERY_S
    with ThreadPoolExecutor(available_cores()) as pool:
        for number, answer in enumerate(pool.map(lambda item: _probe(item, settings, speech, wanted), found), 1):
            probes.append(answer) if isinstance(answer, SourceProbe) else failing.append(answer)
            if time.monotonic() > progress_at and sys.stderr.isatty():
                echo(f"examined {number} of {len(found)} files", err=True)
                progress_at = time.monotonic() + PROGRESS_EVERY_S
    return probes, failing


def _probe(item: FoundSource, settings: Settings, speech: bool, wanted: ChannelSelection) -> SourceProbe | JobLine:
    if not item.source.is_file:
        return SourceProbe(source=item.source.shown, length_s=None)
    path = item.source.path
    try:
        own = _wanted(item, wanted)
        with open_source(path, track=own.first_track) as audio:
            check_channels(audio.info, str(path), settings)
            own = own.for_tracks(audio.info.tracks, path)
            channels = own.channels_in(own.count_in(audio.info), path)
            if speech and channels != (None,):
                look = _probe_channels(path, own, channels, settings)
            else:
                look = (
                    _probe_speech(audio, str(path), settings)
                    if speech
                    else _probe_header(audio, str(path), len(channels))
                )
            check_length(look.length_s or 0.0, str(path), settings)
            return look
    except SourceError as exc:
        return _will_fail(item.source.shown, exc.code, str(exc))


def _wanted(item: FoundSource, wanted: ChannelSelection) -> ChannelSelection:
    """Return the channels and the track to use for a source. The fields of its manifest entry have priority over the
    options of the command line (`wanted`)."""
    fields = {"channels": wanted.channels, "channel_names": wanted.names, "track": wanted.track}
    spec = make_spec(item.source, **options.of_source(fields, {**item.options}))
    return ChannelSelection(spec.channels, spec.channel_names, spec.track)


def _probe_speech(audio: Audio, source: str, settings: Settings) -> SourceProbe:
    found = plan_sections(
        audio,
        rate=settings.sample_rate,
        cutting=CutOptions(sessions=settings.worker_sessions),
        skipping=SkipOptions(),
        detector=silero() if settings.speech_detector == "auto" else None,
    )
    return SourceProbe(
        source=source,
        length_s=found.duration / found.rate,
        speech_s=found.speech_s,
        silence_s=found.skipped_s,
        warnings=audio.warnings,
    )


def _probe_channels(
    path: Path, wanted: ChannelSelection, channels: Sequence[int | None], settings: Settings
) -> SourceProbe:
    """Detect speech in each of the `channels` separately and add up the seconds."""
    detector = silero() if settings.speech_detector == "auto" else None
    warnings: list[str] = []
    found = {}
    for channel in channels:
        with open_source(path, *wanted.reader_of(channel)) as audio:
            found[channel or 0] = scan(audio, detector)
            warnings += audio.warnings
    detected = detector.name if detector is not None else "level"
    plans = plan_channels(
        found, settings.sample_rate, CutOptions(sessions=settings.worker_sessions), SkipOptions(), detected
    )
    skipping = SkipOptions() if settings.skip_silence else None
    streamed = [plan for plan in plans if may_hold_speech(found[plan.channel or 0], skipping)]
    return SourceProbe(
        source=str(path),
        length_s=max(plan.duration / plan.rate for plan in plans),
        speech_s=sum(plan.speech_s or 0.0 for plan in plans),
        silence_s=sum(plan.skipped_s for plan in streamed),
        warnings=tuple(dict.fromkeys(warnings)),
        channels=len(streamed),
    )


def _probe_header(audio: Audio, source: str, channels: int) -> SourceProbe:
    """Take the length from the header. If the header declares no length, read the whole file. Always decode the first
    block, so that a file that cannot be decoded is reported."""
    blocks = audio.blocks()
    next(blocks, None)
    length_s = audio.info.duration_s
    if length_s is None:
        for _ in blocks:
            pass
        length_s = audio.frames_decoded / audio.info.sample_rate
    return SourceProbe(source=source, length_s=length_s, warnings=audio.warnings, channels=channels)


def _will_fail(source: str, code: str, reason: str) -> JobLine:
    return JobLine(id=None, source=source, state=JobState.FAILED, error_code=code, error=reason)


def _print_estimate(console: Console, plan: BatchEstimate) -> None:
    for line in _estimate_lines(plan):
        console.print(line, soft_wrap=True)


def _estimate_lines(plan: BatchEstimate) -> Iterator[str]:
    limits = plan.limits
    yield f"{'files':10} {plan.files}, {plan.failing_count} of them will fail"
    spoken = ""
    if plan.speech_s is not None:
        what = "of speech" if plan.speech_s <= plan.audio_s else "of speech in all channels"
        spoken = f", {format_duration(plan.speech_s)} {what}"
    yield f"{'audio':10} {format_duration(plan.audio_s)}{spoken}"
    sessions = f"{format_count(plan.sessions, 'session')}, {limits.max_sessions} at the same time"
    yield f"{'streamed':10} {format_duration(plan.streamed_s)} in {sessions}"
    if plan.batch_wall_time_s is None:
        yield f"{'time':10} unknown: it depends on the service; set --speed for an estimate"
    else:
        longest = f"; the longest file takes {format_duration(plan.longest_file_wall_time_s)}"
        yield f"{'time':10} {format_duration(plan.batch_wall_time_s)} at {format_speed(limits.speed)}{longest}"
    if plan.cost is not None:
        cost = f"{plan.cost:.2f}" if plan.cost >= 0.1 else f"{plan.cost:.2g}"
        yield f"{'cost':10} {cost} at {limits.price_per_hour:g} an hour"
    if plan.unexamined:
        yield f"{'not known':10} {len(plan.unexamined)} sources at addresses; the sums do not include them"
    for source, texts in list(plan.warnings.items())[:MAX_SHOWN]:
        yield f"[yellow]warning[/]    {safe(display_path(source))}: {safe('; '.join(texts))}"
    for job in plan.failing_sources[:MAX_SHOWN]:
        reason = without_source(job.error or "", job.source)
        yield f"[red]will fail[/]  {safe(display_path(job.source))}: {safe(reason)}"
    for name, count in (("warnings", len(plan.warnings)), ("failures", len(plan.failing_sources))):
        if count > MAX_SHOWN:
            yield f"and {count - MAX_SHOWN} more {name}: see --json"
