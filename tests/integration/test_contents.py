"""A file that was read by who submits it is not read again by a worker only for its hash."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import redis

from tasks.jobs import JobSpec
from tasks.submit import submit_async
from tasks.work import job_of
from worker.settings import Settings
from worker.storage.lease import Lease
from worker.storage.ledger import Ledger


async def known_to_a_worker(ledger: Ledger, settings: Settings, source: Path) -> str | None:
    handle = await submit_async(source, settings=settings, again=True)
    lease = await ledger.acquire(handle.id, "w")
    assert isinstance(lease, Lease)
    job = await job_of(lease, JobSpec(source=str(source)), settings, ledger)
    await lease.release()
    return job.sha256


async def test_the_hash_comes_with_the_job(
    settings: Settings, ledger: Ledger, raw: redis.Redis, tmp_path: Path
) -> None:
    source = tmp_path / "粵語 call.wav"
    source.write_bytes(b"first")
    assert await known_to_a_worker(ledger, settings, source) == hashlib.sha256(b"first").hexdigest()
    (key,) = raw.scan_iter("stt:content:*")
    assert 0 < raw.ttl(key) <= timedelta(days=1).total_seconds()


async def test_a_file_that_changed_since_is_read(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(b"first")
    await known_to_a_worker(ledger, settings, source)
    assert await ledger.contents.hash_of(str(source)) is not None
    was = source.stat()
    source.write_bytes(b"other")  # as long as before
    os.utime(source, ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    assert await ledger.contents.hash_of(str(source)) is None
    other = tmp_path / "b.wav"
    other.write_bytes(b"third")
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(source)  # the same size and time, another file
    assert await ledger.contents.hash_of(str(source)) is None
    source.unlink()
    assert await ledger.contents.hash_of(str(source)) is None
