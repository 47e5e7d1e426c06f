"""Paths that jobs may open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.support.file_hash import sha256_file
from tests.unit.transcript.build import transcript
from worker.errors import OutputError, SourceError, SourceNotFound, SourceRefused
from worker.settings import Settings, load
from worker.storage.address import parse
from worker.storage.outputs.deliver import deliver
from worker.storage.sources.download import local_copy
from worker.storage.sources.local_file import open_local
from worker.storage.sources.wildcards import content_of, contents_of


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """Folders: `inside` is allowed; `secret` is not, but links lead to it."""
    inside, secret = tmp_path / "inside", tmp_path / "secret"
    for folder in (inside, secret):
        folder.mkdir()
        (folder / "a.wav").write_bytes(b"RIFF")
    (inside / "file-link.wav").symlink_to(secret / "a.wav")
    (inside / "folder-link").symlink_to(secret)
    (inside / "inner-link.wav").symlink_to(inside / "a.wav")
    return tmp_path


def allowing(roots: Path) -> Settings:
    return load({}, allowed_sources=str(roots / "inside"), allowed_outputs=str(roots / "inside"))


@pytest.mark.parametrize(
    "path",
    [
        "secret/a.wav",
        "inside/../secret/a.wav",
        "inside/file-link.wav",
        "inside/folder-link/a.wav",
        "inside/folder-link/no.wav",
    ],
)
async def test_no_path_leaves_the_allowed_folders(roots: Path, path: str) -> None:
    settings, source = allowing(roots), str(roots / path)
    with pytest.raises(SourceRefused, match="STT_ALLOWED_SOURCES") as refused:
        open_local(parse(source), settings)
    assert str(refused.value).startswith(f"{source}: "), "the message does not reveal the target of the link"
    assert str(refused.value).count("secret") == path.count("secret")
    with pytest.raises(SourceRefused):
        await content_of(parse(source), settings)
    with pytest.raises(SourceRefused):
        await contents_of([parse(str(roots / "inside/a.wav")), parse(source)], settings)
    with pytest.raises(SourceRefused):
        async with local_copy(parse(source), settings):
            pass


async def test_a_link_inside_the_allowed_folders_is_opened(roots: Path) -> None:
    async with local_copy(parse(str(roots / "inside/inner-link.wav")), allowing(roots)) as local:
        assert local.name == "inner-link.wav"
        assert os.path.samestat(local.file.stat(), (roots / "inside/a.wav").stat())


async def test_outputs_do_not_follow_links_out_of_the_allowed_folders(roots: Path) -> None:
    with pytest.raises(OutputError, match="STT_ALLOWED_OUTPUTS"):
        await deliver(transcript(), [parse(str(roots / "inside/folder-link"))], "x", ["txt"], allowing(roots))
    assert sorted(os.listdir(roots / "secret")) == ["a.wav"]  # noqa: PTH208


async def test_a_file_above_the_limit_is_not_even_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(2_000_000_001)
    settings = load({}, source_max_gb=2)
    with pytest.raises(SourceRefused, match=r"has 2\.0 GB, more than 2 GB \(STT_SOURCE_MAX_GB\)"):
        await content_of(parse(str(huge)), settings)
    open_local(parse(str(huge)), load({}, source_max_gb=0)).close()


async def test_pipes_devices_and_sockets_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as bound:
        monkeypatch.chdir(tmp_path)  # the length of a socket address is limited
        bound.bind("socket")
        for path in (pipe, Path("/dev/zero"), tmp_path / "socket"):
            with pytest.raises(SourceError, match="not a regular file"):
                sha256_file(path)
    with pytest.raises(SourceNotFound):
        await content_of(parse(str(tmp_path / "none.wav")), load({}))
