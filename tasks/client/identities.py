"""Computes the ids of jobs from the contents of their sources. Needs no connection to Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tasks.job_spec import JobSpec, job_id
from worker.audio.opened_file import SourceFile
from worker.audio.source import sha256_of
from worker.settings import Settings
from worker.storage.sources.wildcards import contents_of

MAX_IDENTIFIED: Final = 100_000
MAX_CONTENTS: Final = 1_000_000


class Identities:
    """Hashes of sources whose jobs are not recorded yet. Several producers may share this object: one of them hashes
    the files, and another one records the jobs."""

    def __init__(self, hash_of: Callable[[SourceFile], str] = sha256_of) -> None:
        """`hash_of`: returns the sha256 of a file, computed or from a cache."""
        self._hash_of = hash_of
        self.files: dict[str, tuple[str, str]] = {}
        """File stamp and content hash of each file, by path."""
        self.contents: dict[str, str] = {}
        """Content hash of the source of each job, by job id."""

    def note(self, identity: str, content: str) -> None:
        self.contents[identity] = content
        if len(self.contents) > MAX_CONTENTS:  # entries of jobs that are never recorded would remain forever
            del self.contents[next(iter(self.contents))]

    def note_file(self, path: str, stamp: str, content: str) -> None:
        """Remember the hash of a file. It is published with the job of the file, so that workers need not hash the file
        again."""
        if len(self.files) > MAX_IDENTIFIED:  # most belong to jobs that were never recorded
            self.files.clear()
        self.files[path] = stamp, content

    async def identify_many(self, specs: Sequence[JobSpec], settings: Settings, *, scope: str = "") -> list[str]:
        """Return the ids of jobs. To compute an id, a file is hashed; for an address, the server is asked for values
        that identify the content. Raises SourceError if this machine cannot read a source."""
        sources = [spec.source for spec in specs]
        stamps: dict[str, str] = {}

        def hash_of(file: SourceFile) -> str:
            # The stamp is read first, so that a file that changes while it is hashed no longer matches its stamp.
            stamps[str(file)] = str(file.stamp())
            return self._hash_of(file)

        contents = await contents_of(sources, settings, hash_of)
        for source, content in zip(sources, contents, strict=True):
            if source.text in stamps:
                self.note_file(source.text, stamps[source.text], content)
        ids = [job_id(spec, content, scope=scope) for spec, content in zip(specs, contents, strict=True)]
        for identity, content in zip(ids, contents, strict=True):
            self.note(identity, content)
        return ids
