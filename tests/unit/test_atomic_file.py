"""A file is replaced completely, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.atomic_file import replace_file


@pytest.fixture(params=["by its path", "by a descriptor of its folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int | None]:
    if request.param == "by its path":
        yield None
        return
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("durable", [True, False])
def test_the_new_content_replaces_the_old(tmp_path: Path, folder: int | None, durable: bool) -> None:
    path = tmp_path / "état 1.json"
    for content in ((b"first ", b"version"), (b"2",), ()):
        replace_file(path, content, folder=folder, durable=durable)
        assert path.read_bytes() == b"".join(content)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("failure", [OSError("full"), ValueError("cannot be encoded"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, folder: int | None, failure: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise failure

    with pytest.raises(type(failure)):
        replace_file(path, pieces(), folder=folder)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_at_the_path_is_an_error_and_remains(tmp_path: Path, folder: int | None) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "a", (b"new",), folder=folder)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path, folder: int | None) -> None:
    (tmp_path / "elsewhere").write_text("other")
    path = tmp_path / "a"
    path.symlink_to("elsewhere")
    replace_file(path, (b"new",), folder=folder)
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "other"


def test_the_mode_follows_the_umask(tmp_path: Path, folder: int | None) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "a", (b"new",), folder=folder)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_path_without_a_folder_is_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_file(Path("a"), (b"new",))
    assert (tmp_path / "a").read_text() == "new"


def test_a_durable_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("fsync"), sync(fd)))
    monkeypatch.setattr(os, "rename", lambda *a, **k: (done.append("rename"), rename(*a, **k)))
    replace_file(tmp_path / "a", (b"new",))
    assert done == ["fsync", "rename", "fsync"]
    done.clear()
    replace_file(tmp_path / "a", (b"new",), durable=False)
    assert done == ["rename"]
