"""The command `stt-batch watch`, which queues the files that arrive in a folder. No other module imports watchfiles."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import click
from watchfiles import awatch

from tasks.batches.number_format import format_duration
from tasks.batches.summary import without_source
from tasks.cli import options
from tasks.cli.run.json_output import JsonEvents
from tasks.cli.sources.find_recordings import LeftOutFile, left_out_reason, scan_folder
from tasks.cli.terminal_output import echo
from tasks.cli.watch.prefix_watch import PrefixWatch
from tasks.cli.watch.run_until_signal import run_until_signal
from tasks.cli.watch.settling import SettlingFiles
from tasks.cli.watch.submitter import FolderSubmitter
from tasks.client.producer import Producer, make_spec
from worker.audio.file_extensions import is_audio_name, is_other_media_name
from worker.audio.opened_file import FileStamp
from worker.backoff import backoff_s
from worker.errors import LedgerUnavailable, QueueFull
from worker.open_files_limit import raise_limit
from worker.settings import Settings
from worker.storage.address import is_url, show

RESCAN_S: Final = 30.0
"""Seconds between two scans of the whole folder, because network disks and mounted folders report no changes."""
PAUSE_S: Final = (1.0, 30.0)
"""Shortest and longest pause while Redis is unreachable or the queue is full, in seconds."""


class _Place(click.Path):
    """An existing folder, or the address of a prefix in an object store, which stays a text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return str(value) if is_url(str(value)) else super().convert(value, param, ctx)


@click.command(short_help="Transcribe files that arrive in a folder.")
@click.argument("place", metavar="DIR", type=_Place(path_type=Path, file_okay=False, exists=True))
@click.option("--out", "-o", required=True, metavar="DIR", help="Folder for the transcripts, or s3://, gs://, az://.")
@options.formats
@options.style
@options.language
@options.glossary
@options.session_options
@click.option(
    "--speed",
    type=options.SpeedType(),
    metavar="SPEED",
    help="Speed at which a session sends audio, such as 2x; default: the setting of the worker.",
)
@options.channels
@options.skip_silence
@options.retain
@click.option("--batch", metavar="NAME", help="Name of the batch the jobs belong to. Default: `watch-` and the folder.")
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a file must be unchanged before it is queued.",
)
@options.log_level
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines on standard output.")
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True)
def command(
    place: Path | str,
    out: str,
    batch: str | None,
    settle_s: float,
    log_level: str | None,
    as_json: bool,
    ready_file: Path | None,
    **given: Any,
) -> None:
    """Queue every audio file that is in DIR or arrives there, and report its result, until SIGTERM or Ctrl-C.

    DIR is a folder, or a prefix in an object store such as s3://bucket/calls/, which is listed every 30 s. Each object
    is queued once, also after a restart; a replaced object is queued again.

    Workers (`stt-batch worker`) on the same queue (STT_REDIS_URL) transcribe the files, which they read under the same
    paths. `monday/call.wav` becomes `monday/call.wav.json` below --out. A file is queued when it has been unchanged for
    --settle seconds. After a restart, queued jobs continue, finished files are skipped, and unchanged files are not
    read again. A failed file is tried again when it is touched or replaced, or with `stt-batch retry`.

    \b
    Examples:
      stt-batch watch /inbox --out /transcripts
      stt-batch watch s3://bucket/inbox/ --out s3://bucket/transcripts
      stt-batch watch /inbox --out s3://results/calls --format json,srt --settle 30
    """
    from tasks.observability import log_setup  # noqa: PLC0415

    settings = options.settings_from(warn=False, log_level=log_level)
    raise_limit()
    log_setup.set_up(settings)
    log_setup.warn_of_unknown_variables(os.environ)
    folder = place.absolute() if isinstance(place, Path) else place
    given |= {
        "style": options.style_from(given),
        **options.channels_from(given),
        **options.glossary_from(given.pop("glossary_file"), settings),
        **options.session_options_from(given),
        "out_dir": out,
        "batch": batch or f"watch-{PurePosixPath(str(folder)).name}",
    }
    source = make_spec(folder, **given).source  # also reports invalid options before the first file arrives
    watch: Watch | PrefixWatch
    if isinstance(folder, Path):
        watch = Watch(settings, folder, given, settle_s, as_json=as_json)
    elif source.is_web:
        raise click.UsageError(f"{source}: give a folder, or a prefix at s3://, gs:// or az://")
    else:
        watch = PrefixWatch(settings, source, given, as_json=as_json)
    asyncio.run(watch.main((lambda: None) if ready_file is None else ready_file.touch))
    # Skip the interpreter's shutdown, which would wait for a thread that still reads a large file.
    sys.stdout.flush()
    os._exit(0)


class Watch:
    """Watches one folder until a signal, and submits its files."""

    def __init__(
        self, settings: Settings, folder: Path, given: dict[str, Any], settle_s: float, *, as_json: bool
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._given = given
        self._out = Path(given["out_dir"]).absolute()  # for an address this is a path that does not exist
        self._settling = SettlingFiles(settle_s)
        self._tick_s = min(1.0, settle_s / 4)
        self._events = JsonEvents(sys.stdout if as_json else None)
        self._as_json = as_json
        self._left_out: set[Path] = set()
        self._stop = asyncio.Event()
        self._trouble: str | None = None

    async def main(self, on_ready: Any) -> None:
        producer = Producer(self._settings)
        submitter = FolderSubmitter(producer, self._folder, self._given, self._report)
        work = self._work(submitter, on_ready)
        await run_until_signal(self._settings, producer, self._stop, work, self._listen())
        self._summary(submitter)

    async def _work(self, submitter: FolderSubmitter, on_ready: Any) -> None:
        rescan_at, failures = 0.0, 0
        while True:
            now = time.monotonic()
            if now >= rescan_at:
                self._rescan()
                rescan_at = now + RESCAN_S
                on_ready()
            for path in self._settling.waiting:
                self._look_at(path)
            try:
                async for path in submitter.take(self._settling.settled(time.monotonic())):
                    self._settling.take(path)
                await submitter.look()
            except (LedgerUnavailable, QueueFull) as exc:
                self._print_trouble(str(exc))
                await asyncio.sleep(backoff_s(failures, *PAUSE_S))
                failures += 1
            else:
                self._print_trouble(None)
                failures = 0
                await asyncio.sleep(self._tick_s)

    # -- the folder ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Receive changes from the operating system. If this fails, the regular scans (RESCAN_S) still find the
        files."""
        try:
            # raise_interrupt=False, because on Ctrl-C our own signal handler stops the loop through `stop_event`.
            async for changes in awatch(
                self._folder, watch_filter=None, stop_event=self._stop, raise_interrupt=False, debounce=400
            ):
                for _, name in changes:
                    self._found(Path(name))
        except (OSError, RuntimeError) as exc:
            self._print(f"the system reports no file changes ({exc}); scanning every {RESCAN_S:g} s instead")

    def _rescan(self) -> None:
        if not self._folder.is_dir():
            self._print(f"{self._folder} does not exist; waiting for it")
        for path in self._settling.known:
            if not path.exists():
                self._settling.gone(path)
        self._found(self._folder)
        if self._folder.is_dir():
            self._report_hidden()

    def _found(self, place: Path) -> None:
        for path in _files(place):
            if self._hidden(path) or path in self._left_out:
                continue
            if is_audio_name(path) or is_other_media_name(path):
                self._look_at(path)
            elif not path.is_relative_to(self._out) and path.exists():
                self._leave_out(path, left_out_reason(path) or "is not an audio file")

    def _leave_out(self, path: Path, reason: str) -> None:
        if path not in self._left_out:
            self._left_out.add(path)
            self._report("left out", path, error=reason)

    def _report_hidden(self) -> None:
        """Report media files that are not transcribed because the file or a folder above it is hidden. Only the regular
        scans report them: a file often has a hidden name while it is uploaded, and most uploads have ended before the
        next scan."""
        for item in scan_folder(self._folder, media=True, by_content=False):
            if isinstance(item, LeftOutFile) and not Path(item.source).is_relative_to(self._out):
                self._leave_out(Path(item.source), item.reason)

    def _look_at(self, path: Path) -> None:
        try:
            stamp = FileStamp.at(path)
        except OSError:  # the file was deleted, or cannot be read yet
            self._settling.gone(path)
            return
        self._settling.seen(path, stamp, time.monotonic())

    def _hidden(self, path: Path) -> bool:
        """Whether a file is not watched. This is so if the file or a folder above it is hidden, or if the file is in an
        output folder inside the watched folder."""
        inside = path.relative_to(self._folder)
        if any(part.startswith(".") for part in inside.parts):
            return True
        return self._out != self._folder and path.is_relative_to(self._out)

    # -- output ----------------------------------------------------------------------------------------------------

    def _report(self, event: str, source: Path, **facts: Any) -> None:
        if self._as_json:
            self._events.write(event, source=show(str(source)), **facts)
            return
        name = show(str(source.relative_to(self._folder)))
        if event == "done":
            self._print(
                f"done      {name}  {format_duration(facts['duration_s'])} in {format_duration(facts['took_s'])}"
            )
        elif event in ("queued", "skipped"):
            self._print(f"queued    {name}" if event == "queued" else f"before    {name}  (done already)")
        else:
            self._print(f"{event:<9} {name}: {without_source(str(facts.get('error')), show(str(source)))}")

    def _print(self, text: str) -> None:
        """Print a line for people. The line is printed on standard error if JSON events are printed on standard
        output."""
        echo(text, err=self._as_json)

    def _print_trouble(self, trouble: str | None) -> None:
        """Print a problem once when it begins, and once when it ends."""
        if trouble != self._trouble:
            self._print(f"waiting   {trouble}" if trouble else "continuing")
            self._trouble = trouble

    def _summary(self, submitter: FolderSubmitter) -> None:
        if self._as_json:
            failed = {show(str(path)): reason for path, reason in submitter.failed.items()}
            self._events.write("stopped", done=submitter.done, open=submitter.open, failed=failed)
            return
        for path, reason in submitter.failed.items():
            name = show(str(path.relative_to(self._folder)))
            echo(f"failed    {name}: {without_source(reason, show(str(path)))}")
        ended = f"{submitter.done} done, {len(submitter.failed)} failed"
        echo(f"stopped: {ended}, {submitter.open} remain in the queue for the workers")


def _files(place: Path) -> Iterator[Path]:
    """Yield `place` if it is a file. If it is a folder, yield the files below it in order, except those in hidden
    folders."""
    if not place.is_dir():
        yield place
        return
    for here, folders, files in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield Path(here) / name


__all__ = ["Watch", "command"]
