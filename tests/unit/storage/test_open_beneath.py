"""Links cannot leave the allowed folders, not even by a change between the check and the opening."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.unit.transcript.build import transcript
from worker.errors import OutputError, SourceError, SourceNotFound, SourceRefused
from worker.settings import Settings, load
from worker.storage import open_beneath
from worker.storage.address import parse
from worker.storage.outputs.deliver import deliver
from worker.storage.sources.local_file import open_local

RACE_S = 1.0


@pytest.fixture(params=["openat2", "walk"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with openat2 and without it, as on old kernels."""
    if request.param == "walk":
        monkeypatch.setattr(open_beneath, "openat2", lambda *_: None)


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    for folder in ("inside/sub", "other", "secret"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.wav").write_bytes(folder.encode())
    return tmp_path


@pytest.fixture
def settings(roots: Path) -> Settings:
    allowed = f"{roots}/inside,{roots}/other"
    return load({}, allowed_sources=allowed, allowed_outputs=allowed)


def content(source: Path | str, settings: Settings) -> bytes:
    with open_local(parse(str(source)), settings) as file, file.open() as reader:
        return reader.read()


@pytest.mark.parametrize(
    ("link", "target", "path", "expected"),
    [
        ("inside/l.wav", "a.wav", "inside/l.wav", b"inside"),
        ("inside/l.wav", "sub/../sub/a.wav", "inside/l.wav", b"inside/sub"),
        ("inside/sub/l.wav", "../a.wav", "inside/sub/l.wav", b"inside"),
        ("inside/l", "sub", "inside/l/a.wav", b"inside/sub"),
        ("inside/l.wav", "{root}/inside/sub/a.wav", "inside/l.wav", b"inside/sub"),
        ("inside/l", "{root}/other", "inside/l/a.wav", b"other"),
        ("inside/sub/l", "../../other", "inside/sub/l/a.wav", b"other"),
    ],
)
def test_links_that_stay_inside_work(
    roots: Path, settings: Settings, link: str, target: str, path: str, expected: bytes
) -> None:
    (roots / "inside" / "a.wav").write_bytes(b"inside")
    (roots / link).symlink_to(target.format(root=roots))
    assert content(roots / path, settings) == expected


@pytest.mark.parametrize(
    ("link", "target", "path"),
    [
        ("inside/l.wav", "../secret/a.wav", "inside/l.wav"),
        ("inside/l", "..", "inside/l/secret/a.wav"),
        ("inside/l.wav", "{root}/secret/a.wav", "inside/l.wav"),
        ("inside/l.wav", "{root}/inside/../secret/a.wav", "inside/l.wav"),
        ("inside/l.wav", "{root}/secret/none.wav", "inside/l.wav"),
        ("inside/sub/l", "../../other/../secret", "inside/sub/l/a.wav"),
        ("inside/l.wav", "/proc/self/fd/0", "inside/l.wav"),
        ("inside/l", "/proc/self/cwd", "inside/l/pyproject.toml"),
    ],
)
def test_links_that_lead_out_are_refused(roots: Path, settings: Settings, link: str, target: str, path: str) -> None:
    (roots / link).symlink_to(target.format(root=roots))
    with pytest.raises(SourceRefused, match="a link in its path leads to a place that is not within STT_ALLOWED"):
        open_local(parse(str(roots / path)), settings)


def test_a_loop_of_links_is_refused(roots: Path, settings: Settings) -> None:
    (roots / "inside/x").symlink_to("y")
    (roots / "inside/y").symlink_to("x")
    with pytest.raises(SourceError, match="Too many levels"):
        open_local(parse(str(roots / "inside/x")), settings)


def test_the_allowed_folder_may_be_a_link_or_one_file(roots: Path) -> None:
    (roots / "alias").symlink_to(roots / "inside")
    assert content(roots / "alias/sub/a.wav", load({}, allowed_sources=str(roots / "alias"))) == b"inside/sub"
    only = load({}, allowed_sources=str(roots / "other/a.wav"))
    assert content(roots / "other/a.wav", only) == b"other"
    with pytest.raises(SourceRefused):
        open_local(parse(str(roots / "inside/sub/a.wav")), only)
    with pytest.raises(SourceNotFound):
        open_local(parse(str(roots / "inside/none.wav")), load({}, allowed_sources="*"))


@pytest.mark.parametrize("path", ["/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/stdin"])
@pytest.mark.parametrize("allowed", ["", "*", "/"])
def test_files_of_the_kernel_are_refused(tmp_path: Path, path: str, allowed: str) -> None:
    settings = load({}, allowed_sources=allowed)
    with pytest.raises(SourceRefused, match=r"files below /.* are not read"):
        open_local(parse(path), settings)
    (tmp_path / "link.wav").symlink_to(path)
    with pytest.raises(SourceError):
        open_local(parse(str(tmp_path / "link.wav")), settings)


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x9b"])
def test_control_characters_are_refused(tmp_path: Path, character: str) -> None:
    with pytest.raises(SourceRefused, match="must not contain control characters"):
        open_local(parse(f"{tmp_path}/a{character}.wav"), load({}))


@contextmanager
def swapping(one: Callable[[], None], other: Callable[[], None]) -> Iterator[None]:
    """A thread that alternates between two states as fast as it can."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            one()
            other()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def link_swapper(path: Path, inside: str, outside: str) -> tuple[Callable[[], None], Callable[[], None]]:
    def point_to(target: str) -> None:
        with suppress(FileNotFoundError):
            temporary = path.with_name(f"{path.name}.new")
            temporary.symlink_to(target)
            temporary.replace(path)

    return lambda: point_to(inside), lambda: point_to(outside)


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.gate_sample(2)
def test_a_race_cannot_leave_the_allowed_folders(roots: Path, settings: Settings, what: str) -> None:
    link = roots / "inside" / "l"
    inside, outside = ("sub/a.wav", "../secret/a.wav") if what == "file" else ("sub", "../secret")
    path = link if what == "file" else link / "a.wav"
    read, refused, until = 0, 0, time.monotonic() + RACE_S
    with swapping(*link_swapper(link, inside, outside)):
        while time.monotonic() < until or not (read and refused):  # either may take a while on a busy machine
            try:
                assert content(path, settings) == b"inside/sub"
                read += 1
            except (SourceRefused, SourceNotFound):
                refused += 1


async def test_a_race_cannot_write_outside(roots: Path, settings: Settings) -> None:
    link = roots / "inside" / "l"
    link.symlink_to("sub")  # before the first output creates a folder with this name
    written, until = 0, time.monotonic() + RACE_S
    with swapping(*link_swapper(link, "sub", "../secret")):
        while time.monotonic() < until or not written:
            with suppress(OutputError):
                await deliver(transcript(), [parse(str(roots / "inside"))], f"l/x{written}", ["txt"], settings)
                written += 1
    assert written
    assert os.listdir(roots / "secret") == ["a.wav"]  # noqa: PTH208


@pytest.mark.parametrize("target", ["../secret", "{root}/secret", "../secret/deeper", "sub/../../secret"])
async def test_an_output_name_cannot_use_a_link_to_leave(roots: Path, settings: Settings, target: str) -> None:
    (roots / "inside" / "l").symlink_to(target.format(root=roots))
    for folder, name in ((roots / "inside", "l/x"), (roots / "inside", "l/y/x"), (roots / "inside/l", "x")):
        with pytest.raises(OutputError, match="leads to a place that is not within STT_ALLOWED_OUTPUTS"):
            await deliver(transcript(), [parse(str(folder))], name, ["txt"], settings)
    assert os.listdir(roots / "secret") == ["a.wav"]  # noqa: PTH208


async def test_outputs_are_written_below_the_allowed_folder(roots: Path, settings: Settings) -> None:
    (roots / "inside" / "l").symlink_to("new/folder")
    (roots / "inside" / "new").mkdir()
    (roots / "inside" / "x.txt").symlink_to(roots / "secret" / "a.wav")
    written = await deliver(transcript(), [parse(str(roots / "inside" / "l" / "deep"))], "calls/x", ["txt"], settings)
    assert written == (str(roots / "inside/l/deep/calls/x.txt"),)
    assert (roots / "inside/new/folder/deep/calls/x.txt").is_file()
    await deliver(transcript(), [parse(str(roots / "inside"))], "x", ["txt"], settings)
    assert (roots / "secret/a.wav").read_bytes() == b"secret", "a link in place of the file is replaced"
    assert not list((roots / "inside").rglob(".stt-*"))
    with pytest.raises(OutputError, match="inside the output folder"):
        await deliver(transcript(), [parse(str(roots / "inside"))], "a\nb", ["txt"], settings)


def test_no_descriptor_is_left_open(roots: Path, settings: Settings) -> None:
    (roots / "inside/l").symlink_to(roots / "secret")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        content(roots / "inside/sub/a.wav", settings)
        for path in ("inside/l/a.wav", "inside/none/a.wav", "inside/sub"):
            with pytest.raises(SourceError):
                open_local(parse(str(roots / path)), settings)
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
