from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from pathlib import Path

import pytest

from worker.audio import hashing as module
from worker.audio.hashing import hashing
from worker.errors import SourceNotFound

SOUND = b"sound" * 1000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(SOUND)
    return path


async def test_the_hash_of_a_file(file: Path) -> None:
    async with hashing(file) as digest:
        assert await digest == hashlib.sha256(SOUND).hexdigest()


async def test_what_is_known_is_not_read(tmp_path: Path) -> None:
    async with hashing(tmp_path / "not there", "abc") as digest:
        assert await digest == "abc"


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    async with hashing(tmp_path / "not there") as digest:
        with pytest.raises(SourceNotFound):
            await digest


async def test_what_has_not_begun_does_not_begin(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Semaphore(0), threading.Event()
    read: list[Path] = []

    def slow(path: Path) -> str:
        read.append(path)
        began.release()
        go_on.wait(10)
        return "done"

    monkeypatch.setattr(module, "sha256_file", slow)
    other = file.with_name("b.wav")
    async with hashing(file) as first:
        assert await asyncio.to_thread(began.acquire, timeout=10)
        with pytest.raises(ZeroDivisionError):
            async with hashing(other) as second:
                raise ZeroDivisionError
        assert second.cancelled()
        await asyncio.sleep(0)  # the executor is told of it on the loop's next turn
        go_on.set()
        assert await first == "done"
    async with hashing(file) as last:  # behind whatever waited
        await last
    assert read == [file, file]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_hashes_with_a_thread_of_its_own(file: Path) -> None:
    async with hashing(file) as digest:
        expected = await digest  # the thread is there now
    child = os.fork()
    if not child:  # pragma: no cover  another process
        found = module._thread.submit(module.sha256_file, file).result(10)
        os._exit(0 if found == expected else 1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
