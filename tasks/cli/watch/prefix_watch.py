"""Watches a prefix in an object store: lists it at intervals, submits each new content once, and follows the jobs.

Redis remembers each submitted content for 30 days after it was last listed, so a restart and an expired job repeat
nothing. A replaced object has another ETag, and is another job. Memory does not grow with the number of objects.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tasks.batches.summary import without_source
from tasks.cli.run.json_output import JsonEvents
from tasks.cli.terminal_output import echo
from tasks.cli.watch.run_until_signal import run_until_signal
from tasks.client.new_spec import make_spec
from tasks.client.producer import Producer
from tasks.job_spec import JobSpec, JobState, job_id
from worker.backoff import backoff_s
from worker.errors import LedgerUnavailable, QueueFull, SourceError, SttError
from worker.settings import Settings
from worker.storage.address import Address
from worker.storage.sources.wildcards import ListedSource, content_of, list_sources

RESCAN_S: Final = 30.0
"""Shortest pause between two listings, in seconds. The pause is at least ten times the duration of a listing, because
stores charge for requests."""
PAUSE_S: Final = (1.0, 60.0)
AT_ONCE: Final = 500
MAX_NAMED: Final = 10_000
"""Maximum number of left-out objects of which a process remembers that it has reported them."""


class PrefixWatch:
    """Watches one prefix until a signal."""

    def __init__(
        self,
        settings: Settings,
        prefix: Address,
        given: dict[str, Any],
        *,
        as_json: bool,
        rescan_s: float = RESCAN_S,
    ) -> None:
        self._settings = settings
        self._prefix = prefix
        self._given = given
        self._rescan_s = rescan_s
        self._as_json = as_json
        self._events = JsonEvents(sys.stdout if as_json else None)
        self._open: dict[str, str] = {}
        self._named: set[str] = set()
        self._stop = asyncio.Event()
        self.done = self.failed = 0
        options = JobSpec.model_validate({"source": prefix.text, **given}).model_dump_json(exclude={"source"})
        # Another watch with other options, such as another output folder, submits the same objects again.
        self._scope = hashlib.sha256(options.encode()).hexdigest()[:16]

    async def main(self, on_ready: Callable[[], object]) -> None:
        producer = Producer(self._settings)
        await run_until_signal(self._settings, producer, self._stop, self._work(producer, on_ready))
        left = f"{len(self._open)} remain in the queue for the workers"
        self._print("stopped", "", f"{self.done} done, {self.failed} failed, {left}")

    async def _work(self, producer: Producer, on_ready: Callable[[], object]) -> None:
        failures, rescan_at = 0, 0.0
        while True:
            started = time.monotonic()
            try:
                if started >= rescan_at:
                    await self.scan(producer)
                    on_ready()
                    took_s = time.monotonic() - started
                    rescan_at = time.monotonic() + max(self._rescan_s, 10 * took_s)
                await self._look(producer)
            except (LedgerUnavailable, QueueFull, SourceError) as exc:
                self._print("waiting", "", str(exc))
                await asyncio.sleep(backoff_s(failures, *PAUSE_S))
                failures += 1
            else:
                failures = 0
                await asyncio.sleep(min(1.0, self._rescan_s))

    async def scan(self, producer: Producer) -> None:
        """List the prefix once, and submit each content that was not submitted before."""
        page: dict[str, ListedSource] = {}
        async for one in list_sources(self._prefix, self._settings):
            if one.problem:
                self._leave_out(one.address, one.problem)
                continue
            page[one.address.text] = one
            if len(page) == AT_ONCE:
                await self._submit(producer, page)
                page = {}
        await self._submit(producer, page)

    async def _submit(self, producer: Producer, page: Mapping[str, ListedSource]) -> None:
        contents: dict[str, str] = {}
        for text, one in page.items():
            try:
                contents[text] = one.content or await content_of(one.address, self._settings)
            except SourceError:
                continue  # it was deleted, or cannot be read now: the next listing decides
        stamps = {self._key(text): hashlib.sha256(content.encode()).hexdigest() for text, content in contents.items()}
        handled = await producer.hash_cache.get_many(stamps)
        jobs: dict[str, tuple[str, JobSpec]] = {}
        for text, content in contents.items():
            if self._key(text) in handled:
                continue
            one = page[text]
            try:
                spec = make_spec(one.address, out_name=str(one.place), **self._given)
            except SttError as exc:
                self._leave_out(one.address, str(exc))
                continue
            identity = job_id(spec, content)
            producer.identified.note(identity, content)
            jobs[text] = (identity, spec)
        if not jobs:
            return
        created = await producer.enqueue(list(jobs.values()), batch=self._given["batch"])
        # After the jobs are recorded: a crash in between submits them again, which finds the same jobs.
        await producer.hash_cache.put({self._key(text): (stamps[self._key(text)], jobs[text][0]) for text in jobs})
        for text, job in zip(jobs, created, strict=True):
            if job.state.ended:
                self._print("skipped", text, "done already")
            else:
                self._open[job.job_id] = text
                self._print("queued", text, "", id=job.job_id)

    async def _look(self, producer: Producer) -> None:
        """Report the jobs that have ended."""
        ids = list(self._open)[:AT_ONCE]
        for identity, record in zip(ids, await producer.ledger.get_many(ids), strict=True):
            text = self._open.pop(identity)
            if record is not None and not record.state.ended:
                self._open[identity] = text  # to the end, so that the next call queries others first
            elif record is not None and record.state is JobState.DONE:
                self.done += 1
                self._print("done", text, "", id=identity, outputs=list(record.outputs))
            else:
                self.failed += 1
                state = "failed" if record is None else record.state.value
                self._print(
                    state, text, "its record has expired" if record is None else record.error or "", id=identity
                )

    def _leave_out(self, address: Address, reason: str) -> None:
        if address.shown not in self._named and len(self._named) < MAX_NAMED:
            self._named.add(address.shown)
            self._print("left out", address.shown, reason)

    def _key(self, text: str) -> str:
        return f"watch {self._scope} {text}"

    def _print(self, event: str, source: str, text: str, **facts: Any) -> None:
        if self._as_json:
            self._events.write(event, source=source or self._prefix.shown, error=text or None, **facts)
            return
        name = source.removeprefix(self._prefix.text)
        echo(f"{event:<9} {name}{': ' if name and text else ''}{without_source(text, source)}")


__all__ = ["PrefixWatch"]
