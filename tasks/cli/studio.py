"""The command `stt-batch studio`, which runs the console and all that it needs on this machine, for one person."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from tasks.cli import options
from tasks.cli.run.command import local_settings, print_cantonese_note
from tasks.cli.terminal_output import echo
from tasks.embedded.recognizer_choice import for_language
from tasks.embedded.stack import Stack
from worker.errors import SettingsError
from worker.language_codes import base_language
from worker.settings import Settings

_NEEDED: Final = ("fastapi", "uvicorn", "python_multipart")
CHECK_S: Final = 1.0
OPEN_PAGE: Final = "open-studio.html"
"""A page that only this user can read and that leads the browser to the console. The address with the key is not an
argument of the browser, because process lists show arguments to all users."""


@click.command(short_help="Transcribe in the browser, on this machine.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("studio"))
@click.option("--browser/--no-browser", default=True, help="Open the console in the browser. Default: yes.")
@click.option("--port", "http_port", type=click.IntRange(0, 65535), help="Port of the console (or STT_HTTP_PORT).")
@click.option(
    "--language", "-l", metavar="CODE", help="Language of the audio. Selects a model of the recognizer for it."
)
@options.model
@click.option(
    "--sessions",
    "worker_sessions",
    type=click.IntRange(1, 2000),
    metavar="N",
    help="Number of sessions at the same time.",
)
@options.service
@options.log_level
def command(folder: Path, browser: bool, language: str | None, **given: Any) -> None:
    """Start a queue, a worker, the HTTP API with its console and, unless --url (or STT_URL) and a key are given, the
    embedded real-time service, and open the console in the browser. Ctrl-C stops all of them.

    FOLDER (default: `studio`) contains everything: uploads, jobs and transcripts. The same command continues with them.
    Only programs on this machine can connect, with the key in the printed address, which is new at each start.

    \b
    Examples:
      stt-batch studio
      stt-batch studio ~/interviews --language yue
      STT_API_KEY=... stt-batch studio --url https://cantonese.ai
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise SettingsError("`stt-batch studio` needs the extra `local`: pip install 'stt-batch[local]'")
    settings, embedded = local_settings(given)
    if embedded and language:
        settings = for_language(settings, language)
        if base_language(language) == "yue":
            print_cantonese_note(settings)
    asyncio.run(_serve(settings, folder, embedded=embedded, browser=browser))


async def _serve(settings: Settings, folder: Path, *, embedded: bool, browser: bool) -> None:
    stopped = _stop_on_signals()
    echo("starting …", err=True)
    page = folder / OPEN_PAGE
    main = asyncio.current_task()
    starting = asyncio.create_task(_cancel_on(stopped, main))
    try:
        async with Stack(settings, folder, embedded_endpoint=embedded, api=True) as stack:
            starting.cancel()
            address = f"{stack.api_url}/#key={stack.api_key}"
            echo(f"The console is at {address}")
            echo("Ctrl-C stops it.", err=True)
            if browser and _has_display():
                _write_page(page, address)
                await asyncio.to_thread(webbrowser.open, page.absolute().as_uri())
            while not stopped.is_set():
                stack.check()
                await _wait(stopped, CHECK_S)
            echo("stopping …", err=True)
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
    finally:
        starting.cancel()
        page.unlink(missing_ok=True)


def _stop_on_signals() -> asyncio.Event:
    """Return an event that the first signal sets. A second one ends the process at once; the supervisors then end all
    others."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop(number: int) -> None:
        if stopped.is_set():
            os._exit(128 + number)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    return stopped


async def _cancel_on(stopped: asyncio.Event, task: asyncio.Task[Any] | None) -> None:
    """Cancel the start when a signal arrives."""
    await stopped.wait()
    if task is not None:
        task.cancel()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _has_display() -> bool:
    """Whether a browser with windows can be opened. A text browser in the terminal could not show the console."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))


def _write_page(page: Path, address: str) -> None:
    page.unlink(missing_ok=True)
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f'<!doctype html><title>stt-batch</title><meta http-equiv="refresh" content="0; url={address}">\n')
