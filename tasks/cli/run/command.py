"""The command `stt-batch run`, which transcribes files and folders and starts all processes that this needs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from tasks.batches.number_format import format_count
from tasks.cli import options
from tasks.cli.run.batch_run import BatchRun
from tasks.cli.run.file_states import File
from tasks.cli.run.json_output import JsonMode
from tasks.cli.run.standard_streams import STANDARD_INPUT, check_one, print_transcript, store_input
from tasks.cli.sources import find_recordings
from tasks.cli.sources.expand_arguments import Listing, opens_media, sources
from tasks.cli.sources.output_names import name_outputs, named
from tasks.cli.terminal_output import echo_error
from tasks.embedded.recognizer_choice import check_recognizer, for_language
from tasks.job_spec import FORMATS
from worker.core_count import available_cores
from worker.errors import LanguageUnsupported, SettingsError
from worker.language_codes import base_language
from worker.open_files_limit import raise_limit
from worker.realtime.recording_folder import folder_problem
from worker.secret_masking import show_url
from worker.settings import Settings


@click.command(cls=options.JsonLinesCommand, short_help="Transcribe files and folders on this machine.")
@options.paths
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("transcripts"),
    show_default=True,
    metavar="DIR",
    help="Folder for the transcripts; `-` writes the transcript of one file to standard output, as text or in the one"
    " format of --format.",
)
@options.formats
@options.style
@click.option(
    "--language",
    "-l",
    metavar="CODE",
    help="Language of the audio: en, yue, zh, ja … Selects a model of the embedded recognizer for it. With --url it is"
    " written into the transcript if the service names none.",
)
@options.model
@options.glossary
@options.session_options
@click.option(
    "--speed",
    type=options.SpeedType(),
    metavar="SPEED",
    help="Speed at which a session sends audio: a factor of real time, or `max`. Default: max with the embedded"
    " service, 1 with another service.",
)
@click.option(
    "--sessions",
    "worker_sessions",
    type=click.IntRange(1, 2000),
    metavar="N",
    help="Number of sessions at the same time, for files and sections of long files. Default: twice the cores with the"
    " embedded service, 8 with another service.",
)
@options.channels
@options.skip_silence
@options.service
@options.force
@options.left_out
@options.dry_run
@click.option("--open", "open_summary", is_flag=True, help="Show the summary page in a browser at the end.")
@options.verbosity
@options.as_json_lines
@click.pass_context
def command(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    out: Path,
    formats: tuple[str, ...],
    language: str | None,
    force: bool,
    names_left_out: bool,
    dry_run: bool,
    open_summary: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    as_json_lines: bool,
    **given: Any,
) -> None:
    """Transcribe files, folders (searched for audio), patterns, manifests (.csv or .jsonl with source, id and options)
    and addresses (s3://, gs://, az://, https://), or `-`, audio from standard input. The transcripts are written to
    --out in the same folder tree.

    Starts a queue, a worker and, unless --url (or STT_URL) and a key are given, the embedded real-time service. Stops
    all of them at the end. Ctrl-C stops at once; the same command continues where it stopped and skips finished files.

    \b
    Examples:
      stt-batch run recordings/
      stt-batch run a.wav b.flac --format srt,txt --out results
      stt-batch run 's3://bucket/calls/**'
      stt-batch run calls/ --open
      ffmpeg -i film.mkv -f wav - | stt-batch run - -o - --format srt > film.srt
      STT_API_KEY=... stt-batch run calls/ --url https://cantonese.ai --sessions 4

    \b
    Exit codes: 0 all done, 1 some files failed or are incomplete, 2 wrong usage, 130 interrupted.
    """
    style, channels = options.style_from(given), options.channels_from(given)
    glossary_file, session_options = given.pop("glossary_file"), options.session_options_from(given)
    settings, embedded = local_settings(given)
    glossary = options.glossary_from(glossary_file, settings)
    names_left_out = names_left_out or verbose
    to_stdout = str(out) == STANDARD_INPUT
    json_mode: JsonMode | None = "lines" if as_json_lines else "document" if as_json else None
    if to_stdout and (json_mode or open_summary):
        raise click.UsageError(f"{'--json' if json_mode else '--open'} and -o - exclude each other: give one of them")
    _check_out(out)
    if to_stdout and ctx.get_parameter_source("formats") is not ParameterSource.COMMANDLINE:
        formats = ("txt",)
    if dry_run:
        # Only the estimate decodes audio. Its imports take 0.3 s, as long as all others of a run together.
        from tasks.cli.plan import print_plan  # noqa: PLC0415

        ctx.exit(print_plan(paths, settings, channels, names_left_out=names_left_out, as_json=json_mode is not None))
    temporary = ctx.with_resource(ExitStack())
    piped: Path | None = None
    if STANDARD_INPUT in paths:
        piped = store_input(_temporary_folder(temporary, settings), settings)
        paths = (*(path for path in paths if path != STANDARD_INPUT), str(piped))
    if to_stdout:
        out = _temporary_folder(temporary, settings)
    listing = _find(paths, settings, show=not quiet and not json_mode)
    name_outputs(listing.found, out, formats)
    files = [
        File(
            item.source,
            item.out_name,
            item.found.size_bytes or 0,
            key=item.found.id,
            options=item.found.options,
            label="standard input" if item.source.text == str(piped) else "",
        )
        for item in named(listing.found)
    ]
    if to_stdout:
        check_one(files, formats)
    if not quiet:
        find_recordings.print_left_out(listing.left_out, everything=names_left_out)
    if (problem := folder_problem(settings)) is not None:
        echo_error(f"warning: {problem}")
    if embedded and (code := _one_language(files, language)):
        settings = for_language(settings, code)
        if not quiet and base_language(code) == "yue":
            print_cantonese_note(settings)
    run = BatchRun(
        settings=settings,
        embedded=embedded,
        out=out,
        files=files,
        force=force,
        json_mode=json_mode,
        quiet=quiet,
        to_stdout=to_stdout,
        open_summary=open_summary,
        temporary=temporary,
        left_out=listing.left_out,
        options={
            "formats": formats,
            "style": style,
            "language": language,
            "speed": settings.speed,
            **channels,
            **glossary,
            **session_options,
        },
    )
    exit_code = asyncio.run(run.main())
    if to_stdout:
        print_transcript(files[0], out, formats[0])
    if not quiet:
        find_recordings.print_left_out_count(listing.left_out, everything=names_left_out)
    ctx.exit(exit_code)


def _check_out(out: Path) -> None:
    """Raise UsageError if --out looks like the name of one transcript, as in the option -o of other programs."""
    ending = out.suffix[1:].lower()
    if ending in FORMATS and not out.exists():
        raise click.UsageError(
            f"--out is a folder, not a file: for one transcript, write `-o - --format {ending} > {out}`"
        )


def _temporary_folder(stack: ExitStack, settings: Settings) -> Path:
    """Create a folder that is deleted when `stack` is closed."""
    return Path(stack.enter_context(TemporaryDirectory(prefix="stt-batch-", dir=settings.temp_dir or None)))


def _find(paths: Sequence[str], settings: Settings, *, show: bool) -> Listing:
    """Find the recordings. `show`: say so on a terminal, because a large folder or a bucket takes long."""
    console = Console(stderr=True, quiet=not show)
    with console.status("searching for recordings") if console.is_terminal and show else nullcontext():
        return asyncio.run(sources(paths, settings, media=opens_media()))


def local_settings(given: dict[str, Any]) -> tuple[Settings, bool]:
    """Return the settings of an embedded stack, and whether it includes the real-time service."""
    settings = options.settings_from(**given)
    raise_limit()
    key = settings.api_key.get_secret_value()
    if settings.url and not key:
        raise SettingsError(f"a key for {show_url(settings.url)} is needed: set STT_API_KEY, or give --api-key-file")
    embedded = not settings.url
    if not embedded:
        from tasks.service_profile_store import with_profile_of_file  # noqa: PLC0415  only for a service

        settings, applied = with_profile_of_file(settings)
        if applied:
            values = ", ".join(f"STT_{name.upper()}={value}" for name, value in applied.items())
            echo_error(f"Profile of the service (doctor --probe): {values}")
    if given.get("model") and not embedded:
        raise SettingsError(
            f"--model chooses a model of the embedded recognizer, but the service at {show_url(settings.url)} is "
            "used: omit --model, or --url (STT_URL)"
        )
    update: dict[str, Any] = {}
    if not settings.allowed_sources:
        update["allowed_sources"] = "*"  # the user may transcribe every file that this command can read
    if embedded:
        check_recognizer(settings)
        if "speed" not in settings.model_fields_set:
            update["speed"] = math.inf
        if "worker_sessions" not in settings.model_fields_set:
            update["worker_sessions"] = 2 * available_cores()
    return settings.model_copy(update=update), embedded


def print_cantonese_note(settings: Settings) -> None:
    """Print a note about the Cantonese text of the model in the settings, if there is a note about this model."""
    from worker.server.recognizers.model_languages import cantonese_note  # noqa: PLC0415  not needed otherwise

    if settings.server_recognizer == "faster-whisper" and (note := cantonese_note(settings)):
        echo_error(f"note: {note}")


def _one_language(files: Sequence[File], common: str | None) -> str | None:
    """Return the language of all files, or None if neither the command nor a manifest names one. Raises
    LanguageUnsupported if there are several languages, because the embedded recognizer is loaded for one language."""
    asked: dict[str | None, list[str]] = {}
    for file in files:
        code = file.options.get("language", common)
        asked.setdefault(base_language(code) if code else None, []).append(code or "")
    if len(asked) > 1:
        counts = ", ".join(
            f"{code or 'none named'} ({format_count(len(some), 'file')})" for code, some in asked.items()
        )
        raise LanguageUnsupported(
            f"the embedded recognizer transcribes one language per run, and the manifest asks for {counts}: run them "
            "separately, or use a service (STT_URL and STT_API_KEY)"
        )
    return next((some[0] for code, some in asked.items() if code), None)
