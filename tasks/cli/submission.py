"""Submits the sources of a table in parts. Memory does not grow with their number: ids and results are in the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from tasks.cli import options
from tasks.cli.sources.output_names import named
from tasks.cli.sources.source_table import NamedSource, SourceTable
from tasks.client.identities import Identities
from tasks.client.producer import Producer, make_spec
from tasks.job_spec import JobSpec
from worker.ledger.ledger import JobState, StateChange

T = TypeVar("T")
AT_ONCE: Final = 1000
"""Maximum number of jobs that are in memory and queued together."""
_TABLE: Final = """
CREATE TABLE job(number INTEGER PRIMARY KEY, id TEXT, content TEXT, stamp TEXT, before TEXT, state TEXT)
"""


@dataclass(frozen=True, slots=True)
class _Identity:
    """The id of a job. `content`: hash of the source's content. `stamp`: the file's stamp before it was hashed. Both
    are empty if the source was not read."""

    job_id: str
    content: str = ""
    stamp: str = ""


class Submission:
    """The jobs of one `submit` command. Call `identify`, then `enqueue`, then read `results`."""

    def __init__(self, producer: Producer, sources: SourceTable, fields: dict[str, Any]) -> None:
        """`sources`: a table to which `name_outputs` has added names. `fields`: fields of JobSpec for all sources."""
        self._producer, self._sources, self._fields = producer, sources, fields
        self._database = sources.database
        self._database.execute(_TABLE)

    async def identify(self) -> None:
        """Compute the ids of all jobs, unless a manifest gives them. Finds every error before a job is queued.

        Raises SourceError, and BadJob for invalid options and for a webhook that no worker can deliver."""
        for some in _parts(named(self._sources)):
            new = [(one.job_id, one.content, one.stamp) for one in await self._identities(some)]
            self._database.executemany("INSERT INTO job VALUES(NULL, ?, ?, ?, NULL, NULL)", new)

    async def _identities(self, items: Sequence[NamedSource]) -> list[_Identity]:
        specs = [self._spec(item) for item in items]
        await self._producer.check_webhooks({spec.webhook for spec in specs if spec.webhook is not None})
        # The producer's own notes would be in memory until all jobs are queued.
        notes = Identities()
        keyless = [spec for spec, item in zip(specs, items, strict=True) if item.found.id is None]
        computed = iter(await notes.identify_many(keyless, self._producer.settings))
        identities = []
        for item in items:
            if item.found.id is not None:
                identities.append(_Identity(item.found.id))
                continue
            job_id = next(computed)
            stamp, _ = notes.files.get(item.source.text, ("", ""))
            identities.append(_Identity(job_id, notes.contents[job_id], stamp))
        return identities

    async def enqueue(self, *, batch: str, force: bool) -> None:
        """Queue all jobs. Raises QueueFull, which may be after some jobs were queued."""
        rows = self._database.execute("SELECT id, content, stamp FROM job ORDER BY number")
        known = (_Identity(*row) for row in rows)
        first = 1
        for some in _parts(zip(named(self._sources), known, strict=True)):
            for item, one in some:
                if one.content:
                    self._producer.identified.note(one.job_id, one.content)
                if one.stamp:
                    self._producer.note_read(item.source.text, one.stamp, one.content)
            jobs = [(one.job_id, self._spec(item)) for item, one in some]
            created = await self._producer.enqueue(jobs, batch=batch, force=force)
            results = [(job.before, job.state, number) for number, job in enumerate(created, first)]
            self._database.executemany("UPDATE job SET before = ?, state = ? WHERE number = ?", results)
            first += len(results)

    def results(self) -> Iterator[tuple[NamedSource, StateChange]]:
        """Yield the sources with their jobs, in order. Call `enqueue` before."""
        rows = self._database.execute("SELECT id, before, state FROM job ORDER BY number")
        for item, (job_id, before, state) in zip(named(self._sources), rows, strict=True):
            yield item, StateChange(job_id, None if before is None else JobState(before), JobState(state))

    @property
    def all_ended(self) -> bool:
        """Whether every job had ended before it was submitted, so that none waits or runs."""
        return all(job.state.ended for _, job in self.results())

    def _spec(self, item: NamedSource) -> JobSpec:
        fields = {**self._fields, "out_name": item.out_name}
        return make_spec(item.source, **options.of_source(fields, item.found.options))


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, AT_ONCE)):
        yield part


__all__ = ["AT_ONCE", "Submission"]
