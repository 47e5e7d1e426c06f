"""The cache of hashes: a worker does not read a file again whose hash the producer has computed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from tasks.client.handles import submit_async
from tasks.execution.attempt import job_of
from tasks.job_spec import JobSpec
from worker.audio.opened_file import FileStamp
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import Settings


async def known_to_a_worker(ledger: Ledger, settings: Settings, source: Path) -> str | None:
    handle = await submit_async(source, settings=settings, force=True)
    lease = await ledger.acquire(handle.id, "w")
    assert isinstance(lease, Lease)
    job = await job_of(lease, JobSpec(source=str(source)), settings, ledger)
    await lease.release()
    return job.sha256 if job.sha256_stamp == str(FileStamp.at(source)) else None


async def test_a_worker_uses_the_cached_hash(
    settings: Settings, ledger: Ledger, raw: redis.Redis, tmp_path: Path
) -> None:
    source = tmp_path / "粵語 call.wav"
    source.write_bytes(b"first")
    assert await known_to_a_worker(ledger, settings, source) == hashlib.sha256(b"first").hexdigest()
    (key,) = raw.scan_iter("stt:content:*")
    assert 0 < raw.ttl(key) <= timedelta(days=1).total_seconds()


async def is_known(ledger: Ledger, source: Path) -> bool:
    stamp, sha256 = await ledger.hash_cache.get(str(source))
    here = source.exists()  # noqa: ASYNC240
    return sha256 is not None and here and stamp == str(FileStamp.at(source))


def written_in_place(source: Path, was: os.stat_result) -> None:
    source.write_bytes(b"other")
    os.utime(source, ns=(was.st_atime_ns, was.st_mtime_ns + 1))


def written_in_place_with_the_old_time(source: Path, was: os.stat_result) -> None:
    source.write_bytes(b"other")
    os.utime(source, ns=(was.st_atime_ns, was.st_mtime_ns))


def replaced_by_one_of_the_same_time(source: Path, was: os.stat_result) -> None:
    other = source.with_name("b.wav")
    other.write_bytes(b"third")
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(source)


def deleted_and_made_again(source: Path, was: os.stat_result) -> None:
    source.unlink()
    source.write_bytes(b"again")
    os.utime(source, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        written_in_place,
        written_in_place_with_the_old_time,
        replaced_by_one_of_the_same_time,
        deleted_and_made_again,
        lambda source, _: source.unlink(),
    ],
)
async def test_a_changed_file_is_hashed_again(
    settings: Settings, ledger: Ledger, tmp_path: Path, change: Callable[[Path, os.stat_result], None]
) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(b"first")  # the same length as the others
    await known_to_a_worker(ledger, settings, source)
    assert await is_known(ledger, source)
    change(source, source.stat())
    assert not await is_known(ledger, source)
