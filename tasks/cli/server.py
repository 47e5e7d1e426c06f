"""The command `stt-batch server`, which runs the self-hosted real-time service."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_text
from worker.open_files_limit import raise_limit
from worker.optional_modules import UNUSED_MODULES, without_modules


@click.command(short_help="Serve the real-time API with the embedded recognizer.")
@click.option("--host", "server_host", metavar="HOST", help="Address to listen on (or STT_SERVER_HOST).")
@click.option("--port", "server_port", type=click.IntRange(0, 65535), help="Port (or STT_SERVER_PORT); 0: a free one.")
@options.model
@click.option(
    "--language",
    "-l",
    metavar="CODE",
    help="Language of the audio (or STT_SERVER_LANGUAGE). Selects an installed model for that language.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[=VALUE][:SESSIONS]",
    help="Inject a fault; `list` explains all faults.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Play back a session recorded with STT_RECORD_DIR instead of recognizing audio. May be given several times:"
    " one file for each session, in order; the last one is repeated.",
)
@options.log_level
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True)
@click.option("--listening-file", type=click.Path(path_type=Path), hidden=True)
def command(
    ready_file: Path | None,
    listening_file: Path | None,
    faults: tuple[str, ...],
    replay: tuple[Path, ...],
    language: str | None,
    **given: Any,
) -> None:
    """Serve the same real-time API as the hosted service, on this machine, until SIGTERM.

    Clients need one of the keys in STT_SERVER_API_KEYS (comma-separated; default: STT_API_KEY).

    \b
    Examples:
      STT_SERVER_API_KEYS=secret stt-batch server
      STT_SERVER_API_KEYS=secret stt-batch server --language yue
      STT_SERVER_API_KEYS=secret stt-batch server --host 0.0.0.0 --port 8808
      STT_SERVER_API_KEYS=secret stt-batch server --fault drop=30 --fault triplicate
      STT_SERVER_API_KEYS=secret stt-batch server --replay recordings/20261129T091500.session.jsonl
    """
    from worker.server import fault_options as catalogue  # noqa: PLC0415

    if "list" in faults:
        echo_text(catalogue.describe())
        return
    switches = [catalogue.parse(text) for text in faults]
    settings = options.settings_from(warn=False, **given)
    raise_limit()
    with without_modules(*UNUSED_MODULES):
        from tasks.embedded.recognizer_choice import check_recognizer, for_language  # noqa: PLC0415
        from tasks.observability import log_setup  # noqa: PLC0415
        from tasks.observability.heartbeat import Heartbeat  # noqa: PLC0415
        from worker.realtime.session_recording import read_recording  # noqa: PLC0415
        from worker.server.background_load import load_in_background  # noqa: PLC0415

    recordings = [read_recording(path) for path in replay]
    if not recordings:
        check_recognizer(settings)
    if language is not None:
        settings = for_language(settings, language)
    log_setup.set_up(settings)
    log_setup.warn_of_unknown_variables(os.environ)
    load = None if recordings else load_in_background(settings)
    with without_modules(*UNUSED_MODULES, "redis"):  # python-socketio: servers that share their sessions
        from worker.server import app  # noqa: PLC0415  loads aiohttp and more, while the model loads

    def ready(url: str) -> None:
        if settings.log_format == "console":  # with `json`, every line of output must be JSON
            echo(f"listening on {url}")
        if ready_file is not None:
            ready_file.touch()

    heartbeat = Heartbeat(settings.health_file, "event loop")

    def listening(server: app.RunningServer) -> Coroutine[Any, Any, None]:
        if listening_file is not None:
            listening_file.touch()
        return heartbeat.run("event loop", lambda: server.problem)

    try:
        app.run(
            settings,
            ready,
            switches,
            side_task=listening,
            recordings=recordings,
            load=load,
        )
    finally:
        heartbeat.remove()
