"""The command line `stt-batch`. Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

import errno
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final, NoReturn

import click
from click.core import ParameterSource

from tasks.cli.command_names import COMMANDS
from tasks.cli.exit_codes import FAILED, INTERRUPTED, ExitHook, exit_status
from tasks.cli.library_output import hide_library_output
from tasks.cli.terminal_output import discard_output, echo, echo_error
from worker.errors import SttError
from worker.version import installed_version

_WITHOUT_FILES: Final = ("config", "completion", "schema", "health")
"""Commands whose options the files do not set. `config` reports the errors in the files itself."""
_FILES_OF_OPTIONS: Final = f"{__name__}.files_of_options"
"""Key in `click.Context.meta`: the file of each default of an option."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of standard output, for example if the shell writes it to a file on a full disk. In contrast, errors of files
that the command opens have a file name."""


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        echo(f"stt-batch, version {installed_version() or '0 (not installed)'}")
        ctx.exit()


class _Group(click.Group):
    """Prints an SttError as one line and sets the exit code. `--debug` shows the traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        arguments = list(ctx.args)
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as exc:
            # A file whose name begins with a dash looks like an option, also where the shell has expanded a pattern.
            if file := next((one for one in arguments if one.startswith("-") and os.path.lexists(one)), None):
                raise click.UsageError(f"{exc.message} If you mean the file, write ./{file}", exc.ctx) from None
            # If the mistyped name is the start of an option (`--session` of `--sessions`), suggest only that option.
            # Other similar options (`--json`) would distract.
            if beginning := [name for name in exc.possibilities or () if name.startswith(exc.option_name)]:
                raise click.NoSuchOption(exc.option_name, possibilities=beginning, ctx=exc.ctx) from None
            raise
        except click.BadParameter as exc:
            name, command = getattr(exc.param, "name", None), exc.ctx
            if name and command is not None and command.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
                file = ctx.meta[_FILES_OF_OPTIONS][name]
                raise click.BadParameter(f"{exc.message} (set in {file})", command, exc.param) from None
            raise
        except SttError as exc:
            if ctx.params.get("debug"):
                raise
            echo_error(f"error: {exc}")
            ctx.exit(exit_status(exc))
        except OSError as exc:
            if exc.errno not in _FULL or exc.filename is not None or ctx.params.get("debug"):
                raise
            discard_output()
            echo_error(f"error: the output cannot be written: {exc.strerror}; check its disk and run the command again")
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and suggest similar names if it is mistyped."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            similar = get_close_matches(args[0], COMMANDS, n=2)
            if not similar:
                raise
            ctx.fail(f"{exc.message} Did you mean {' or '.join(map(repr, similar))}?")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help) for name, (_, short_help) in COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command when it is needed, because `stt-batch health` runs every few seconds and must not load all
        other commands."""
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            module, attribute = COMMANDS[cmd_name][0].split(":")
            command = getattr(import_module(f"tasks.cli.{module}"), attribute)
            from tasks.cli.help_pages import add_help_end  # noqa: PLC0415  not for the list of commands

            add_help_end(cmd_name, command)
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and warnings of libraries.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Speech to text for folders and queues of audio files, over a real-time Socket.IO service.

    \b
    Examples:
      stt-batch run recordings/                     transcribe a folder without any other set-up
      stt-batch run call.wav --format json,srt      transcribe one file into two formats
      stt-batch studio                              transcribe in the browser, on this machine
      stt-batch worker                              run the jobs in the queue in Redis (STT_REDIS_URL)
      stt-batch submit recordings/ --out /results   add files to that queue
      stt-batch watch /inbox --out /results         add files to that queue as they arrive in a folder
      stt-batch status                              show the jobs and batches
      stt-batch retry --failed                      run failed jobs again

    Settings are environment variables (STT_URL, STT_API_KEY, STT_REDIS_URL, ...) or lines of a file stt-batch.toml;
    `stt-batch config` shows them. Options override them.
    """
    if not debug:
        hide_library_output(ctx)
    _set_option_defaults(ctx)


def _set_option_defaults(ctx: click.Context) -> None:
    """Take the defaults of the invoked command's options from the files `stt-batch.toml`."""
    name = ctx.invoked_subcommand
    if name is None or name in _WITHOUT_FILES:
        return
    from tasks.cli.config_files.location import existing_files  # noqa: PLC0415  not for the list of commands

    if not existing_files(os.environ):
        return
    from tasks.cli.config_files.option_defaults import option_defaults  # noqa: PLC0415  loads the settings
    from tasks.cli.config_files.reading import read_files  # noqa: PLC0415

    if (command := main.get_command(ctx, name)) is not None:
        found = option_defaults(command, name, read_files(os.environ, COMMANDS), os.environ)
        ctx.default_map = {name: {parameter: value for parameter, (value, _) in found.items()}}
        ctx.meta[_FILES_OF_OPTIONS] = {parameter: path for parameter, (_, path) in found.items()}


def entry() -> NoReturn:
    """Run the console script `stt-batch`."""
    exit_hook = ExitHook()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without UTF-8 shows escapes instead of an error
            stream.reconfigure(errors="backslashreplace")
    try:
        main(prog_name="stt-batch")
    except SystemExit as exc:
        exit_hook.code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        raise
    raise AssertionError("click ends with SystemExit")
