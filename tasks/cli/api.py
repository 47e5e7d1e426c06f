"""The command `stt-batch api`, which runs the HTTP API."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from tasks.cli import options
from tasks.cli.terminal_output import echo
from worker.errors import SettingsError
from worker.open_files_limit import raise_limit

_NEEDED: Final = ("fastapi", "uvicorn", "python_multipart")


@click.command(short_help="Serve the HTTP API: submit jobs, follow them, read transcripts.")
@click.option("--host", "http_host", metavar="HOST", help="Address to listen on (or STT_HTTP_HOST).")
@click.option("--port", "http_port", type=click.IntRange(0, 65535), help="Port (or STT_HTTP_PORT); 0: a free one.")
@click.option("--uploads", metavar="DIR", help="Folder or s3:// address for uploads (or STT_UPLOADS).")
@options.log_level
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True)
def command(ready_file: Path | None, **given: Any) -> None:
    """Serve the HTTP API for the queue in Redis (STT_REDIS_URL) until SIGTERM. Running workers transcribe the jobs.

    Clients need one of the keys in STT_HTTP_KEYS (`name:role:key`, comma-separated). Without keys, only programs on
    this machine can connect. The page /docs describes all requests.

    \b
    Examples:
      stt-batch api --uploads /srv/uploads
      STT_HTTP_KEYS=web:submit:secret stt-batch api --host 0.0.0.0 --uploads /srv/uploads
      curl -F file=@call.wav http://127.0.0.1:8080/v1/jobs
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise SettingsError("`stt-batch api` needs the extra `api`: pip install 'stt-batch[api]'")
    settings = options.settings_from(warn=False, **given)
    raise_limit()
    from tasks.api.serve import run  # noqa: PLC0415  loads FastAPI
    from tasks.console.application import create_app_with_console  # noqa: PLC0415
    from tasks.observability import log_setup  # noqa: PLC0415

    log_setup.set_up(settings)
    log_setup.warn_of_unknown_variables(os.environ)

    def ready(url: str) -> None:
        if settings.log_format == "console":  # with `json`, every line of output must be JSON
            echo(f"listening on {url}")
        if ready_file is not None:
            ready_file.write_text(url)

    run(create_app_with_console(settings), settings, ready)
