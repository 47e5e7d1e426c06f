from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from worker.audio.opened_file import SourceFile
from worker.errors import WorkerShortage
from worker.storage.sources import background_hash as module
from worker.storage.sources.background_hash import background_sha256

SOUND = b"sound" * 1000


@pytest.fixture
def file(tmp_path: Path) -> SourceFile:
    return source(tmp_path / "a.wav")


def source(path: Path) -> SourceFile:
    path.write_bytes(SOUND)
    return SourceFile.at(path)


async def test_a_file_is_hashed_in_the_background(file: SourceFile) -> None:
    async with background_sha256(file) as digest:
        assert await digest == hashlib.sha256(SOUND).hexdigest()


async def test_a_known_hash_is_not_computed(tmp_path: Path) -> None:
    closed = source(tmp_path / "a.wav")
    closed.close()
    async with background_sha256(closed, "abc") as digest:
        assert await digest == "abc"


async def test_a_failing_disk_raises(file: SourceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(SourceFile, "open", fail)
    async with background_sha256(file) as digest:
        with pytest.raises(WorkerShortage, match=r"a\.wav: cannot be read now: the disk reports"):
            await digest


async def test_hashing_that_has_not_begun_is_cancelled(
    file: SourceFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Semaphore(0), threading.Event()
    read: list[SourceFile] = []

    def slow(path: SourceFile) -> str:
        read.append(path)
        began.release()
        go_on.wait(10)
        return "done"

    monkeypatch.setattr(module, "sha256_of", slow)
    other = source(tmp_path / "b.wav")
    async with background_sha256(file) as first:
        assert await asyncio.to_thread(began.acquire, timeout=10)
        with pytest.raises(ZeroDivisionError):
            async with background_sha256(other) as second:
                raise ZeroDivisionError
        assert second.cancelled()
        await asyncio.sleep(0)  # the loop cancels the work in the executor in its next iteration
        go_on.set()
        assert await first == "done"
    async with background_sha256(file) as last:  # queued behind all others
        await last
    assert read == [file, file]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_hashes_with_its_own_thread(file: SourceFile) -> None:
    async with background_sha256(file) as digest:
        expected = await digest  # the thread exists now
    child = os.fork()
    if not child:  # pragma: no cover  another process
        found = module._thread.submit(module.sha256_of, file).result(10)
        os._exit(0 if found == expected else 1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
