"""Command-line options shared by several commands, and their conversion to settings and fields of JobSpec."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tasks.cli.argument_completion import complete_files, complete_formats
from tasks.cli.command_names import COMMANDS
from tasks.cli.config_files.reading import named_by_file, read_files, setting_defaults
from tasks.cli.terminal_output import echo_error
from tasks.glossary_file import read_glossary
from tasks.job_spec import FORMATS
from worker.audio.audio_tracks import TrackSelection, parse_track
from worker.audio.channel_selection import Channels, check_names, check_selection, parse_channels, parse_names
from worker.errors import BadJob, SettingsError
from worker.secret_files import read
from worker.session_options import parse_options
from worker.settings import Settings, Speed, load, parse_speed
from worker.transcript.subtitles.style import AUDIO_EVENTS, PRESETS, SCRIPTS, Style
from worker.unknown_settings import unknown_variables

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
# Keys of facts about the options of one command line in `click.Context.meta`.
_VERBOSITY: Final = f"{__name__}.verbosity"
_SHORT_LEVEL: Final = f"{__name__}.short_level"


class SpeedType(click.ParamType[Speed]):
    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Speed:
        try:
            return parse_speed(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class FormatsType(click.ParamType[tuple[str, ...]]):
    name = "formats"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip().lower() for part in str(value).split(",") if part.strip()))
        unknown = [name for name in names if name not in FORMATS]
        if unknown or not names:
            self.fail(f"{', '.join(unknown) or 'nothing'}: choose from {', '.join(FORMATS)}", param, ctx)
        return names


class ChannelsType(click.ParamType[Channels]):
    name = "channels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Channels:
        try:
            return parse_channels(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class NamesType(click.ParamType[tuple[str, ...]]):
    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        try:
            return parse_names(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class TrackType(click.ParamType[TrackSelection]):
    name = "track"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> TrackSelection:
        try:
            return parse_track(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


paths = click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=complete_files)
names = click.argument("names", nargs=-1, required=True, metavar="ID...")
formats = click.option(
    "--format",
    "-f",
    "formats",
    type=FormatsType(),
    shell_complete=complete_formats,
    default="json,srt,vtt,txt,html",
    show_default=True,
    metavar="LIST",
    help=f"Files to write, comma-separated: {', '.join(FORMATS)}.",
)
language = click.option(
    "--language", "-l", metavar="CODE", help="Language written into the transcript if the service names none."
)
parallel_sections = click.option(
    "--parallel-sections",
    "sessions",
    type=click.IntRange(1, 2000),
    metavar="N",
    help="Number of sections of one file streamed at the same time; default: the number of the worker's sessions.",
)
model = click.option(
    "--model",
    metavar="NAME",
    help="Model of the embedded recognizer: a name (tiny.en, base, large-v3) or a folder (or STT_MODEL).",
)
skip_silence = click.option(
    "--skip-silence/--all-audio",
    default=None,
    help="Skip audio without speech (or STT_SKIP_SILENCE). Times in the transcript still refer to the file.",
)


def channels(function: F) -> F:
    """Add the options `--track`, `--channels` and `--channel-names` to a command."""
    function = click.option(
        "--track",
        type=TrackType(),
        metavar="N|all",
        help="Audio track of a container, counted from 1, or `all` with each track as a channel. Default: the"
        " container's default track.",
    )(function)
    function = click.option(
        "--channel-names",
        type=NamesType(),
        metavar="LIST",
        help="Names of the channels in the transcript, in order, such as agent,customer. Default: their numbers.",
    )(function)
    return click.option(
        "--channels",
        type=ChannelsType(),
        metavar="mix|split|N",
        help="Mix all channels, stream each separately, or stream only channel N, counted from 1. Default: mix.",
    )(function)


def channels_from(given: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of `channels` from `given`. Returns the options that were set, as fields of JobSpec. Raises
    BadJob."""
    names = ("channels", "channel_names", "track")
    found = {name: value for name in names if (value := given.pop(name)) is not None}
    channels, track = found.get("channels", "mix"), found.get("track")
    try:
        check_names(channels, found.get("channel_names", ()), track)
    except ValueError as exc:
        raise BadJob(f"--channel-names: {exc}") from None
    try:
        check_selection(channels, track)
    except ValueError as exc:
        raise BadJob(f"--track: {exc}") from None
    return found


def of_source(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of JobSpec for one source. `common`: fields of the command. `own`: fields of this source in a
    manifest, which override the `common` fields."""
    fields = {**common, **own}
    if own.get("channels") == "mix" and "channel_names" not in own:
        fields.pop("channel_names", None)
    return fields


glossary = click.option(
    "--glossary",
    "glossary_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Corrections of names and terms after recognition: a CSV or TSV file with two columns, the heard and the"
    " wanted term (or STT_GLOSSARY).",
)


def glossary_from(option: Path | None, settings: Settings) -> dict[str, Any]:
    """Read the glossary file that the option names or, without the option, the file of the settings. Returns the terms
    as fields of JobSpec, or no fields if there is no file. Raises BadJob."""
    file = option or (Path(settings.glossary) if settings.glossary else None)
    return {} if file is None else {"glossary": read_glossary(file)}


def _session_options(ctx: click.Context, option: click.Parameter, value: str | None) -> dict[str, Any] | None:
    try:
        return None if value is None else parse_options(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc), ctx, option) from None


session_options = click.option(
    "--session-options",
    metavar="JSON",
    callback=_session_options,
    help="Options to add to the start of each session, a JSON object. They replace those of STT_SESSION_OPTIONS"
    " with the same name; null removes one.",
)


def session_options_from(given: dict[str, Any]) -> dict[str, Any]:
    """Remove the option `session_options` from `given`. Returns its value as a field of JobSpec, or no field if the
    option was not set."""
    options = given.pop("session_options")
    return {"session_options": options} if options else {}


left_out = click.option(
    "--left-out", "names_left_out", is_flag=True, help="List every skipped media file with the reason."
)


class _DurationType(click.ParamType[float]):
    """A duration such as `24h`, `90m`, `7d` or `3600` (seconds), as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip().lower())
        if match is None or not float(match[1]):
            self.fail(f"{value!r} is not a duration: write 24h, 90m, 7d or a number of seconds", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


retain = click.option(
    "--retain",
    "retain_s",
    type=_DurationType(),
    metavar="DURATION",
    help="How long finished jobs stay in Redis, such as 24h or 7d; default: STT_RESULT_TTL.",
)
force = click.option("--force", is_flag=True, help="Transcribe finished files again.")
dry_run = click.option(
    "--dry-run", is_flag=True, help="Only print the estimate of `stt-batch plan` and change nothing."
)


def _only_one(ctx: click.Context, option: click.Parameter, value: T) -> T:
    """Refuse two options of `log_level` or `verbosity` in one command, because they may contradict each other."""
    if value:
        name = option.opts[0]
        if (first := ctx.meta.setdefault(_VERBOSITY, name)) != name:
            raise click.UsageError(f"{first} and {name} exclude each other: give one of them", ctx)
    return value


def _short_level(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    if _only_one(ctx, option, given):
        ctx.meta[_SHORT_LEVEL] = {"--quiet": "warning", "--verbose": "debug"}[option.opts[0]]


def _level(ctx: click.Context, option: click.Parameter, value: str | None) -> str | None:
    # click calls this after the callbacks of options that are on the command line, so a short form is known.
    return _only_one(ctx, option, value) or ctx.meta.get(_SHORT_LEVEL)


def log_level(function: F) -> F:
    """Add the option `--log-level`, and its abbreviations `--verbose` and `--quiet`, to a command."""
    short: dict[str, Any] = {"is_flag": True, "expose_value": False, "callback": _short_level}
    function = click.option("--quiet", "-q", help="The same as --log-level warning.", **short)(function)
    function = click.option("--verbose", "-v", help="The same as --log-level debug.", **short)(function)
    return click.option(
        "--log-level",
        "log_level",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        callback=_level,
        help="Lowest level of log lines (or STT_LOG_LEVEL).",
    )(function)


def verbosity(function: F) -> F:
    """Add the options `--quiet` and `--verbose` to a command that prints results instead of log lines."""
    function = click.option("--quiet", "-q", is_flag=True, callback=_only_one, help="Print only errors.")(function)
    return click.option(
        "--verbose",
        "-v",
        is_flag=True,
        callback=_only_one,
        help="Also list every skipped media file, as --left-out does.",
    )(function)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
_JSON_FORMS: Final = {"--json=document": "--json", "--json=lines": "--json-lines"}


def as_json_lines(function: F) -> F:
    """Add the option `--json[=lines]` to a command of the class JsonLinesCommand."""
    function = click.option("--json-lines", "as_json_lines", is_flag=True, hidden=True)(function)
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON document on standard output. `--json=lines`: one JSON object per line while the command"
        " works.",
    )(function)


class JsonLinesCommand(click.Command):
    """A command with the option `as_json_lines`. click would take the word after an option with an optional value as
    its value, so `--json FILE` would not work."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        args[:end] = [_JSON_FORMS.get(word, word) for word in args[:end]]
        return super().parse_args(ctx, args)


def style(function: F) -> F:
    """Add the options `--preset`, `--script`, `--audio-events`, `--word-cues` and `--bom` to a command; `style_from`
    creates a Style from them."""
    function = click.option(
        "--bom", is_flag=True, help="Begin subtitle and text files with a byte order mark, which some televisions need."
    )(function)
    function = click.option(
        "--word-cues", is_flag=True, help="Write the time of each word into the cues (formats vtt and ass)."
    )(function)
    function = click.option(
        "--audio-events",
        type=click.Choice(AUDIO_EVENTS),
        help="Write audio events such as applause as [掌聲], or leave them out; default: as the service writes them.",
    )(function)
    function = click.option(
        "--script",
        type=click.Choice(SCRIPTS),
        help="Convert Chinese to the characters of Hong Kong, Taiwan or the mainland; default: no conversion.",
    )(function)
    return click.option(
        "--preset", type=click.Choice(PRESETS), default="plain", show_default=True, help="Rules for subtitles."
    )(function)


def style_from(given: dict[str, Any]) -> Style:
    """Remove the options that `style` adds from `given` and return them as a Style."""
    return Style(
        preset=given.pop("preset"),
        script=given.pop("script"),
        audio_events=given.pop("audio_events"),
        word_cues=given.pop("word_cues"),
        bom=given.pop("bom"),
    )


def service(function: F) -> F:
    """Add the options `--url` and `--api-key-file` to a command. The key itself is not an option, because process lists
    show options to all users."""
    function = click.option("--url", metavar="URL", help="Address of the real-time service (or STT_URL).")(function)
    return click.option(
        "--api-key-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="File with the API key (or STT_API_KEY).",
    )(function)


def settings_from(*, api_key_file: Path | None = None, warn: bool = True, **given: Any) -> Settings:
    """Load the settings from the files `stt-batch.toml` and the environment, overridden by the given options. Raises
    SettingsError.

    `warn`: print a warning for each unknown `STT_…` variable. Commands that write a log pass False and log it instead.
    """
    if warn:
        for text in unknown_variables(os.environ):
            echo_error(f"warning: {text}")
    overrides = {name: value for name, value in given.items() if value is not None}
    if api_key_file is not None:
        overrides["api_key"] = read(api_key_file, "--api-key-file")
    files = setting_defaults(read_files(os.environ, COMMANDS), os.environ)
    try:
        return load(**{**{name: value for name, (value, _) in files.items()}, **overrides})
    except SettingsError as exc:
        raise SettingsError(named_by_file(str(exc), files)) from None
