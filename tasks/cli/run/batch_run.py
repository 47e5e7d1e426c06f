"""One run of `stt-batch run`: starts the stack, queues the files, follows their jobs and reports the results."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from rich.console import Console

from tasks.batches.summary import summarize
from tasks.batches.summary_files import write_summary
from tasks.cli.options import of_source
from tasks.cli.run.complete_outputs import complete_outputs, write_stored
from tasks.cli.run.file_groups import READ_AHEAD, small_groups
from tasks.cli.run.file_states import File
from tasks.cli.run.finished_before import finished_record, may_be_finished, record_finished
from tasks.cli.run.hash_file import HashFile
from tasks.cli.run.json_output import JsonEvents, JsonMode, document, line_of
from tasks.cli.run.progress_display import RunDisplay
from tasks.cli.run.progress_totals import RunTracker
from tasks.cli.run.summary_browser import open_page
from tasks.cli.sources.existing_outputs import all_written, check_no_folders
from tasks.cli.sources.find_recordings import LeftOutFile
from tasks.cli.tables import display_path
from tasks.cli.terminal_output import echo, echo_json
from tasks.client.identities import Identities
from tasks.client.new_spec import make_spec
from tasks.embedded import STATE_FOLDER
from tasks.job_spec import JobSpec, JobState
from worker.backoff import backoff_s
from worker.end_signals import end_signals
from worker.errors import EndpointBusy, EndpointError, OutputError, SourceError, SttError
from worker.realtime.cleartext_check import clear_text_warning, sends_key_in_clear
from worker.secret_masking import show_url
from worker.settings import Settings
from worker.storage.address import show

if TYPE_CHECKING:
    # Imported where they are used: these modules load the Redis client, which takes 0.15 s. A run without work needs no
    # Redis, and otherwise the import runs while the processes start.
    from tasks.client.producer import Producer
    from tasks.embedded.stack import Stack
    from worker.ledger.ledger import Ledger

MIN_POLL_S: Final = 0.02
"""Seconds between two reads of the jobs' states at the start of a run, so that the end of a short file is
noticed soon."""
POLL_S: Final = 0.2
"""Maximum seconds between two reads. The pause grows with the duration of the run."""
LARGE_RUN_FILES: Final = 1000
LARGE_RUN_POLL_S: Final = 1.0
MAX_TEXTS: Final = 100
"""Maximum number of files whose last words one poll reads; no terminal shows more lines."""
CONTENT_TTL: Final = timedelta(hours=1)
"""How long the ledger still stores the text of a job after the transcript files were written."""
START_BACKOFF_S: Final = (0.5, 5.0)
"""First and maximum delay, in seconds, before the service is checked again at the start."""

Identified = tuple[File, JobSpec, str]


class BatchRun:
    """Transcribes the files of one `stt-batch run`. Call `main` once."""

    def __init__(
        self,
        *,
        settings: Settings,
        embedded: bool,
        out: Path,
        files: Sequence[File],
        force: bool,
        json_mode: JsonMode | None,
        quiet: bool = False,
        to_stdout: bool = False,
        open_summary: bool = False,
        temporary: ExitStack | None = None,
        left_out: Sequence[LeftOutFile] = (),
        options: dict[str, Any],
    ) -> None:
        """`options`: the fields of JobSpec that are common to all jobs. Raises BadJob if an option is invalid, or does
        not match an option of a manifest. No process has been started at that time. `json_mode`: print JSON for
        programs instead of text. `to_stdout`: the caller prints the transcript in `out` afterwards, so that everything
        else goes to standard error. `open_summary`: show the summary in a browser at the end.
        `temporary`: temporary folders to delete when a signal ends the process."""
        self._settings = settings
        self._embedded = embedded
        self._out = out
        self._files = files
        self._force = force
        self._hashes = HashFile(out / STATE_FOLDER / "hashes")
        # Shared by two producers: one hashes files, the other records jobs.
        self._identified = Identities(self._hashes.sha256_of)
        self._json_mode = json_mode
        self._to_stdout, self._open_summary = to_stdout, open_summary
        self._temporary = temporary or ExitStack()
        self._left_out = left_out
        self._specs = [_spec(file, {**options, "out_dir": out}) for file in files]
        self._tracker = RunTracker(files)
        # One document on standard output must stay one document, so its events go to standard error.
        streams = {None: None, "document": sys.stderr, "lines": sys.stdout}
        self._events = JsonEvents(streams[json_mode])
        console = Console(quiet=bool(json_mode) or quiet, highlight=False, stderr=to_stdout)
        self._view = RunDisplay(
            console, self._tracker, None if to_stdout else out, print_failures=quiet and not json_mode
        )
        self._quiet = quiet
        self._signal: int | None = None
        self._unfinished: Identified | None = None  # the first file that an earlier run may not have finished
        self._reported: set[int] = set()
        # The service and the model are a part of the job id, because another service or model would produce another
        # transcript.
        engine = f"embedded {settings.server_recognizer} {settings.model} {settings.server_language}"
        self._scope = engine if embedded else show_url(settings.url)

    async def main(self) -> int:
        """Run until all files have ended. Returns the exit code. After a signal the process exits with
        128 + signal number."""
        started = time.monotonic()
        self._catch_signals()
        try:
            with self._view.live():
                await self._everything()
        except asyncio.CancelledError:
            if self._signal is None:
                raise
        overall = self._tracker.overall()
        elapsed_s = time.monotonic() - started
        if self._json_mode is None:
            self._view.summary(elapsed_s)
        else:
            found = document(self._files, self._out, overall, elapsed_s, self._left_out)
            if self._json_mode == "lines":
                self._events.write("summary", **found)
            else:
                echo_json(found)
        if not self._to_stdout:
            self._write_summary(elapsed_s)
            try:
                self._hashes.save()
            except OutputError as exc:  # the next run takes longer
                echo(f"warning: {exc}", err=True)
        if self._signal is not None:
            self._exit(self._signal)
        return 0 if overall.done == overall.total else 1

    def _write_summary(self, elapsed_s: float) -> None:
        summary = summarize(
            self._out.absolute().name, list(map(line_of, self._files)), now=time.time(), elapsed_s=elapsed_s
        )
        try:
            _, page = write_summary(
                summary,
                self._out,
                {file.out_name for file in self._files},
                absolute_paths=self._settings.absolute_paths,
            )
        except OutputError as exc:  # not an error of the run: the transcripts were written
            echo(f"warning: {exc}", err=True)
            return
        if not self._json_mode and not self._quiet:
            echo(f"Summary: {display_path(page)}")
        if self._open_summary and self._signal is None:
            open_page(page)

    def _catch_signals(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int) -> None:
            if self._signal is not None:
                # The second signal: exit at once, the supervisors end the stack. A third one needs no event loop, as
                # a stopped terminal (Ctrl-S) blocks the end of the live view.
                for each in end_signals():
                    signal.signal(each, signal.SIG_DFL)
                self._view.close()
                self._exit(number)
            self._signal = number
            self._view.status("stopping")
            if task is not None:
                task.cancel()

        for number in end_signals():
            loop.add_signal_handler(number, stop, number)

    def _exit(self, number: int) -> NoReturn:
        """Exit after a signal. Skips the interpreter's shutdown, which would wait for a thread that still reads a large
        file."""
        with suppress(OSError):  # after a second signal, the stack may still write to its folder
            self._temporary.close()
        echo("interrupted; run the same command again to continue", err=True)
        sys.stdout.flush()
        os._exit(128 + number)

    async def _everything(self) -> None:
        identified: asyncio.Queue[Identified | None] = asyncio.Queue(READ_AHEAD)
        reading = asyncio.create_task(self._identify(identified))
        try:
            if await self._all_finished(identified):
                self._events.write("ready")
                self._tracker.mark(time.monotonic())
                self._report_ended()
                return
            if not self._embedded:
                await self._check()
            from tasks.embedded.stack import Stack  # noqa: PLC0415

            stack = Stack(self._settings, self._out, embedded_endpoint=self._embedded, on_loading=self._view.status)
            async with stack:
                from tasks.client.producer import Producer  # noqa: PLC0415

                self._events.write("ready")
                self._view.status("")
                producer = Producer(stack.settings, self._identified)
                queueing = asyncio.create_task(self._queue(producer, identified))
                try:
                    await self._follow(producer, stack, queueing)
                    stack.idle = True
                finally:
                    queueing.cancel()
                    await asyncio.gather(queueing, return_exceptions=True)
                    await producer.close()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _all_finished(self, identified: asyncio.Queue[Identified | None]) -> bool:
        """Skip the files that an earlier run finished, up to the first one that may have something to do. Returns
        whether there is no such file."""
        # If one file has no transcript, the processes start at once, and the ledger examines all files meanwhile.
        if self._force or not all(may_be_finished(spec) for spec in self._specs if spec is not None):
            return False
        while (item := await identified.get()) is not None:
            file, spec, identity = item
            # Not in a thread: the change to one and back takes longer than reading the transcript of a short file.
            record = finished_record(spec, identity)
            await asyncio.sleep(0)
            with suppress(OutputError):  # reported when the job is queued
                if record is None and await self._completed(file, spec, identity, ours=None):
                    record = finished_record(spec, identity)
            if record is None:
                self._unfinished = item
                return False
            file.job_id, file.skipped, file.record = identity, True, record
        return True

    async def _check(self) -> None:
        """Check the service once before the stack starts, because a wrong address or key would fail every file."""
        from worker.realtime.client import check  # noqa: PLC0415  not needed with the embedded service

        if sends_key_in_clear(self._settings.url):
            echo(f"warning: {clear_text_warning(show_url(self._settings.url))}", err=True)
        self._view.status(f"connecting to {show_url(self._settings.url)}")
        for attempt in count(1):
            try:
                await check(self._settings.url, self._settings.api_key, self._settings)
            except EndpointError as exc:
                # A busy service does not prevent the start: it answers, and the workers wait as long as it demands.
                if isinstance(exc, EndpointBusy) or exc.retry_after_s is not None:
                    self._view.status(f"the service is busy: {exc}")
                    return
                if not exc.retryable or attempt > self._settings.session_retries:
                    raise
                self._view.status(f"connecting, attempt {attempt + 1}: {exc}")
                await asyncio.sleep(backoff_s(attempt - 1, *START_BACKOFF_S))
            else:
                return

    async def _identify(self, identified: asyncio.Queue[Identified | None]) -> None:
        """Hash the files to identify their jobs. Runs while the embedded processes start."""
        for group in small_groups(zip(self._files, self._specs, strict=True)):
            for item in await self._identify_group(group):
                await identified.put(item)
        await identified.put(None)

    async def _identify_group(self, group: Sequence[tuple[File, JobSpec]]) -> list[Identified]:
        """Identify the jobs of some files. A file that cannot be read gets the problem, and is left out."""
        specs = [spec for file, spec in group if file.key is None]
        try:
            found = iter(await self._identified.identify_many(specs, self._settings, scope=self._scope))
        except SttError as exc:
            if len(group) > 1:
                return [item for one in group for item in await self._identify_group([one])]
            group[0][0].problem = (exc.code, str(exc))
            return []
        return [(file, spec, file.key or next(found)) for file, spec in group]

    async def _queue(self, producer: Producer, identified: asyncio.Queue[Identified | None]) -> None:
        item = self._unfinished or await identified.get()
        while item is not None:
            try:
                await self._queue_one(producer, *item)
            except OutputError as exc:
                item[0].problem = (exc.code, str(exc))
            item = await identified.get()

    async def _queue_one(self, producer: Producer, file: File, spec: JobSpec, identity: str) -> None:
        """Queue the job of one file, unless an earlier run finished it."""
        check_no_folders(spec)
        ours = await producer.ledger.claim_output(file.out_name, identity)
        completed = await self._completed(file, spec, identity, ours=ours)
        if not self._force and await record_finished(producer, spec, identity):
            file.job_id, file.skipped, file.record = identity, True, await producer.ledger.get(identity)
            return
        created = await producer.record(identity, spec, force=self._force)
        if created.state is JobState.RUNNING:  # left by an earlier run that was killed together with its worker
            await producer.ledger.requeue(identity)
            created = await producer.record(identity, spec)
        if created.state is JobState.DONE:
            # Write the files of a finished job again if they are missing or may have been replaced by another job.
            record = await producer.ledger.get(identity)
            whole = completed or (ours and record is not None and all_written(spec, record.ended_at))
            # A key from a manifest does not depend on the audio: the stored transcript may be that of other audio.
            stored = not whole and file.key is None
            if whole or (stored and await write_stored(producer.ledger, spec, identity, self._settings)):
                file.skipped, file.record = True, record
            else:
                created = await producer.record(identity, spec, force=True)
        file.job_id = identity
        if not file.skipped:
            await producer.wake([identity])

    async def _completed(self, file: File, spec: JobSpec, identity: str, *, ours: bool | None) -> bool:
        """Write missing files from the JSON transcript of the same audio. Returns whether that was possible. `ours`:
        see `complete_outputs`."""
        if self._force or file.key is not None:  # a key from a manifest does not depend on the audio
            return False
        content = self._identified.contents.get(identity, "")
        return await complete_outputs(spec, identity, content, self._scope, self._settings, ours=ours)

    async def _follow(self, producer: Producer, stack: Stack, queueing: asyncio.Task[None]) -> None:
        """Follow the jobs until every file has ended."""
        began = time.monotonic()
        while True:
            stack.check()
            if queueing.done():
                queueing.result()
            waiting = self._tracker.files_to_poll(await producer.ledger.running())
            records = await producer.ledger.get_many([file.job_id or "" for file in waiting])
            for file, record in zip(waiting, records, strict=True):
                self._tracker.update(file, record, time.monotonic())
                if file.state in (JobState.DONE, JobState.INCOMPLETE):
                    await producer.ledger.expire_content(file.job_id or "", CONTENT_TTL)
            await self._read_texts(producer.ledger, waiting)
            self._view.waits(await producer.ledger.key_pause.left_s())
            self._tracker.mark(time.monotonic())
            self._report_ended()
            if self._tracker.overall().ended:
                return
            max_poll_s = POLL_S if len(self._files) < LARGE_RUN_FILES else LARGE_RUN_POLL_S
            await asyncio.sleep(min(max_poll_s, max(MIN_POLL_S, (time.monotonic() - began) / 20)))

    async def _read_texts(self, ledger: Ledger, files: Sequence[File]) -> None:
        """Read the last committed words of the running files, and of files that have just ended."""
        read = [file for file in files if file.record is not None and file.record.commits > file.commits_read]
        if self._json_mode == "lines":
            for file in read:
                async for entry in ledger.commits(file.job_id or "", after=file.last_commit):
                    file.last_commit = entry.stream_id
                    self._events.committed(file, entry)
        elif read and self._view.shows_text:
            texts = await ledger.recent_text.of([file.job_id or "" for file in read[:MAX_TEXTS]])
            for file, text in zip(read, texts, strict=False):
                file.committed_text = text or file.committed_text
        for file in read:
            file.commits_read = file.record.commits if file.record is not None else 0

    def _report_ended(self) -> None:
        for index, file in enumerate(self._files):
            if file.state.ended and index not in self._reported:
                self._reported.add(index)
                self._view.ended(file)
                self._events.file(file)
        self._view.update()
        self._events.progress(self._tracker.overall())


def _spec(file: File, options: dict[str, Any]) -> JobSpec | None:
    """Create the JobSpec of a file. Returns None and sets `file.problem` if the name of the file cannot be used. Raises
    BadJob."""
    try:
        return make_spec(file.source, **of_source({**options, "out_name": file.out_name}, file.options))
    except SourceError as exc:
        file.problem = (exc.code, str(exc))
        file.out_name = show(file.out_name)
        return None
