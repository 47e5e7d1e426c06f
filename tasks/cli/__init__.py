"""The command line `stt-batch`. Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import click

from worker.errors import BadJob, SettingsError, SttError

# Command -> where it is.
_COMMANDS: Final = {
    "run": "run:command",
    "submit": "submit:command",
    "status": "status:command",
    "cancel": "cancel:command",
    "pause": "batches:pause",
    "resume": "batches:resume",
    "retry": "retry:command",
    "worker": "worker:command",
    "intake": "intake:command",
    "server": "server:command",
}


def _version() -> str:
    try:
        return version("stt-batch")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0 (not installed)"


class _Group(click.Group):
    """Our errors become one line and an exit code; `--debug` shows where they came from."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SttError as exc:
            if ctx.params.get("debug"):
                raise
            click.echo(f"error: {exc}", err=True)
            ctx.exit(2 if isinstance(exc, (SettingsError, BadJob)) else 1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="stt-batch")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Speech to text for folders and queues of audio files, over a real-time Socket.IO service.

    \b
    Examples:
      stt-batch run recordings/                     transcribe a folder, everything included
      stt-batch run call.wav --format json,srt      one file, two outputs
      stt-batch worker                              work on the queue in Redis (STT_REDIS_URL)
      stt-batch submit recordings/ --out /results   put files into that queue
      stt-batch status                              what became of them
      stt-batch retry --failed                      try again what failed

    Settings are environment variables (STT_URL, STT_API_KEY, STT_REDIS_URL, ...); options win over them.
    """


def _load(commands: Mapping[str, str]) -> None:
    for name, place in commands.items():
        module, attribute = place.split(":")
        main.add_command(getattr(import_module(f"tasks.cli.{module}"), attribute), name)


_load(_COMMANDS)

if __name__ == "__main__":
    main()
