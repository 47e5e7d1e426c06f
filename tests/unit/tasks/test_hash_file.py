"""The stored sha256 of a run's files. The content decides: a changed file always gets another sha256."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.cli.run import hash_file
from tasks.cli.run.hash_file import HashFile
from tasks.client.identities import Identities
from tasks.client.new_spec import make_spec
from worker.audio.opened_file import FileStamp, SourceFile
from worker.errors import OutputError, SourceRefused
from worker.settings import load

LATER_NS = 3_000_000_000


class Disk:
    """A folder with one source, and the paths of the files whose content was read."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "a.wav"
        self.source.write_bytes(b"first")
        self.stored = folder / "state" / "hashes"
        self.stored.parent.mkdir()
        self.read: list[str] = []

    def hashes(self) -> str:
        """Return the sha256 of the source as a new run gets it, and store it for the next run."""
        hashes = HashFile(self.stored)
        with SourceFile.at(self.source) as file:
            found = hashes.sha256_of(file)
        hashes.save()
        return found


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk whose files were all written more than LATER_NS before they are hashed."""
    made = Disk(tmp_path)

    def sha256_of(source: SourceFile) -> str:
        made.read.append(str(source))
        with source.open() as file:
            return hashlib.sha256(file.read()).hexdigest()

    monkeypatch.setattr(hash_file, "sha256_of", sha256_of)
    now_ns = time.time_ns
    monkeypatch.setattr(hash_file.time, "time_ns", lambda: now_ns() + LATER_NS)
    return made


def test_an_unchanged_file_is_not_read_again(disk: Disk) -> None:
    assert [disk.hashes() for _ in range(3)] == [hashlib.sha256(b"first").hexdigest()] * 3
    assert disk.read == [str(disk.source)]


def _rewrite(path: Path) -> None:
    path.write_bytes(b"other")


def _rewrite_with_the_old_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace_by_a_file_of_the_same_time(path: Path) -> None:
    before = path.stat()
    new = path.with_name("new")
    new.write_bytes(b"other")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)


def _link_to_another_file(path: Path) -> None:
    other = path.with_name("other.wav")
    other.write_bytes(b"other")
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize(
    "change",
    [_rewrite, _rewrite_with_the_old_time, _replace_by_a_file_of_the_same_time, _link_to_another_file],
    ids=lambda change: change.__name__.strip("_"),
)
def test_a_changed_file_of_the_same_size_is_read_again(change: Callable[[Path], None], disk: Disk) -> None:
    disk.hashes()
    change(disk.source)
    assert disk.hashes() == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize("field", ["size_bytes", "mtime_ns", "inode", "ctime_ns", "device"])
def test_each_attribute_of_a_file_counts(field: str, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.hashes()
    before = FileStamp.at(disk.source)
    values = {name: getattr(before, name) for name in before.__slots__}
    monkeypatch.setattr(SourceFile, "stamp", lambda _: FileStamp(**{**values, field: values[field] - 1}))
    disk.hashes()
    assert len(disk.read) == 2


def test_a_file_that_was_changed_shortly_before_its_hash_is_read_again(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change once more within the resolution of its time stamps, and then has the same stamp."""
    monkeypatch.setattr(hash_file.time, "time_ns", lambda: max(FileStamp.at(disk.source).ctime_ns, 0) + 1_000_000_000)
    stamp = FileStamp.at(disk.source)
    disk.hashes()
    disk.source.write_bytes(b"other")
    monkeypatch.setattr(SourceFile, "stamp", lambda _: stamp)
    assert disk.hashes() == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize("damage", [b"", b"\xff\x00\n", b"cut"])
def test_a_damaged_file_of_hashes_only_costs_time(damage: bytes, disk: Disk) -> None:
    found = disk.hashes()
    disk.stored.write_bytes(disk.stored.read_bytes()[:-20] if damage == b"cut" else damage)
    assert disk.hashes() == found
    assert len(disk.read) == 2
    assert disk.hashes() == found
    assert len(disk.read) == 2  # stored again


def test_a_run_that_starts_nothing_creates_no_folder(disk: Disk) -> None:
    disk.stored.parent.rmdir()
    disk.hashes()
    assert not disk.stored.parent.exists()


def test_hashes_that_cannot_be_written_are_reported(disk: Disk) -> None:
    disk.stored.mkdir()
    with pytest.raises(OutputError, match=r"hashes .*reads all files again"):
        disk.hashes()


def test_the_oldest_entries_are_dropped(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_file, "MAX_FILES", 2)
    first = disk.source
    for name in ("b.wav", "c.wav"):
        disk.hashes()
        disk.source = first.with_name(name)
        disk.source.write_bytes(name.encode())
    disk.hashes()
    assert len(disk.stored.read_text().splitlines()) == 2
    disk.source = first
    disk.hashes()
    assert disk.read.count(str(first)) == 2


def test_a_stored_hash_does_not_replace_the_checks_of_a_source(disk: Disk) -> None:
    """A file that the settings no longer allow is refused, although its hash is known."""
    specs = [make_spec(disk.source)]

    def identify(**settings: str) -> list[str]:
        hashes = HashFile(disk.stored)
        found = asyncio.run(Identities(hashes.sha256_of).identify_many(specs, load(settings)))
        hashes.save()
        return found

    assert identify(STT_ALLOWED_SOURCES="*") == identify(STT_ALLOWED_SOURCES="*")
    assert len(disk.read) == 1
    with pytest.raises(SourceRefused):
        identify(STT_ALLOWED_SOURCES=str(disk.source.parent / "elsewhere"))
    assert len(disk.read) == 1
