"""The command line `stt-batch`. Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from tasks.cli.exit_codes import INTERRUPTED, ExitHook, exit_status
from tasks.cli.library_output import hide_library_output
from tasks.cli.terminal_output import echo, echo_error
from worker.errors import SttError
from worker.version import installed_version

# Name of each command -> its module below `tasks.cli` with the attribute of the click command, and its short help.
# The help of the group is here, because it would otherwise import all commands: 1.0 instead of 0.1 CPU seconds.
_COMMANDS: Final = {
    "run": ("run.command:command", "Transcribe files and folders on this machine."),
    "studio": ("studio:command", "Transcribe in the browser, on this machine."),
    "submit": ("submit:command", "Queue files, folders, manifests and addresses for running workers."),
    "watch": ("watch.watch:command", "Transcribe files that arrive in a folder."),
    "status": ("status:command", "Show jobs and batches."),
    "list": ("status:list_", "List the newest batches."),
    "cancel": ("control:cancel", "Cancel jobs and batches."),
    "pause": ("control:pause", "Pause jobs and batches."),
    "resume": ("control:resume", "Resume paused jobs and batches, or a paused API key."),
    "retry": ("control:retry", "Run failed, incomplete and cancelled jobs again."),
    "export": ("export:command", "Write finished transcripts in other formats or to another place."),
    "apply": ("apply:command", "Add corrections from a transcript page to the JSON transcripts."),
    "plan": ("plan:command", "Estimate a batch: hours, sessions, time, cost, failures."),
    "worker": ("worker:command", "Run the jobs in the queue."),
    "intake": ("intake:command", "Take jobs from the intake stream (every worker does this too)."),
    "server": ("server:command", "Serve the real-time API with the embedded recognizer."),
    "api": ("api:command", "Serve the HTTP API: submit jobs, follow them, read transcripts."),
    "webhooks": ("webhooks:command", "List undelivered webhooks; send dead letters again."),
    "ledger": ("ledger:command", "Check the records in Redis, and repair them."),
    "doctor": ("doctor:command", "Check settings, Redis, the service, outputs, disk and clock."),
    "schema": ("schema:command", "Print the JSON Schema of the transcripts."),
    "health": ("health:command", "Check whether a worker or server on this machine is alive, or ready."),
}


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        echo(f"stt-batch, version {installed_version() or '0 (not installed)'}")
        ctx.exit()


class _Group(click.Group):
    """Prints an SttError as one line and sets the exit code. `--debug` shows the traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as exc:
            # If the mistyped name is the start of an option (`--session` of `--sessions`), suggest only that option.
            # Other similar options (`--json`) would distract.
            if beginning := [name for name in exc.possibilities or () if name.startswith(exc.option_name)]:
                raise click.NoSuchOption(exc.option_name, possibilities=beginning, ctx=exc.ctx) from None
            raise
        except SttError as exc:
            if ctx.params.get("debug"):
                raise
            echo_error(f"error: {exc}")
            ctx.exit(exit_status(exc))
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
            similar = get_close_matches(args[0], _COMMANDS, n=2)
            if not similar:
                raise
            ctx.fail(f"{exc.message} Did you mean {' or '.join(map(repr, similar))}?")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help) for name, (_, short_help) in _COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command when it is needed, because `stt-batch health` runs every few seconds and must not load all
        other commands."""
        if cmd_name not in self.commands and cmd_name in _COMMANDS:
            module, attribute = _COMMANDS[cmd_name][0].split(":")
            self.add_command(getattr(import_module(f"tasks.cli.{module}"), attribute), cmd_name)
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

    Settings are environment variables (STT_URL, STT_API_KEY, STT_REDIS_URL, ...). Options override them.
    """
    if not debug:
        hide_library_output(ctx)


def entry() -> NoReturn:
    """Run the console script `stt-batch`."""
    exit_hook = ExitHook()
    try:
        main(prog_name="stt-batch")
    except SystemExit as exc:
        exit_hook.code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        raise
    raise AssertionError("click ends with SystemExit")
