"""Listings of object stores: no key ends one, a name that exists is a name, and memory does not grow with the keys."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import pytest

from tasks.cli.sources.expand_arguments import sources
from tests.support.listing_server import BUCKET, listing_server
from worker.settings import Settings, load
from worker.storage import object_store
from worker.storage.address import parse
from worker.storage.sources.wildcards import list_sources

BAD = ("d//x.wav", "d/./y.wav", "d/../z.wav", "//w.wav", "d/a//", "d/x\x07.wav")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    object_store._store_of.cache_clear()
    yield
    object_store._store_of.cache_clear()


def settings_of(endpoint: str) -> Settings:
    return load({"STT_S3_ENDPOINT": endpoint})


async def listed(settings: Settings, pattern: str) -> tuple[list[str], list[str]]:
    """Return the keys that are sources, and those that have a problem."""
    found = [one async for one in list_sources(parse(f"s3://{BUCKET}/{pattern}"), settings)]
    good = [one.address.key for one in found if not one.problem]
    return good, [one.address.key for one in found if one.problem]


@pytest.mark.parametrize("bad", [key for key in BAD if "\x07" not in key])
@pytest.mark.parametrize("encoding", [True, False])
async def test_a_bad_key_is_named_and_skipped(bad: str, encoding: bool) -> None:
    good = [f"d/{number:04}.wav" for number in range(1500)] + ["e/last.wav"]
    with listing_server(sorted([*good, bad]), encoding=encoding) as endpoint:
        found, problems = await listed(settings_of(endpoint), "")
    assert sorted(found) == sorted(good)
    assert problems == ([] if bad.endswith("/") else [bad])


async def test_a_key_with_a_control_character_ends_no_listing() -> None:
    """XML cannot contain it, so the store sends it only with `encoding-type=url`."""
    with listing_server(sorted(["d/a.wav", "d/x\x07.wav", "d/z.wav"])) as endpoint:
        found, problems = await listed(settings_of(endpoint), "d/")
    assert (found, problems) == (["d/a.wav", "d/z.wav"], ["d/x\x07.wav"])


async def test_a_command_names_the_bad_key() -> None:
    with listing_server(["d//x.wav", "d/a.wav"]) as endpoint:
        listing = await sources([f"s3://{BUCKET}/d/"], settings_of(endpoint), media=True)
    assert [item.source.key for item in listing.found] == ["d/a.wav"]
    (left_out,) = listing.left_out
    assert left_out.source == f"s3://{BUCKET}/d//x.wav"
    assert "its key contains empty parts" in left_out.reason


NAMES = sorted(["take [x].wav", "take x.wav", "dir [1]/a.wav", "dir 1/b.wav", "all*.wav", "allies.wav", "why?.wav"])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("take [x].wav", ["take [x].wav"]),
        ("take [xy].wav", ["take x.wav"]),
        ("dir [1]/", ["dir 1/b.wav", "dir [1]/a.wav"]),
        ("dir [1]/*.wav", ["dir 1/b.wav", "dir [1]/a.wav"]),
        ("dir [1]/a.wav", ["dir [1]/a.wav"]),
        ("all*.wav", ["all*.wav"]),
        ("al*.wav", ["all*.wav", "allies.wav"]),
        ("why?.wav", ["why?.wav"]),
    ],
)
async def test_a_name_that_exists_is_a_name(pattern: str, found: list[str]) -> None:
    with listing_server(NAMES) as endpoint:
        assert await listed(settings_of(endpoint), pattern) == (found, [])


async def test_local_names_with_brackets_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("take [x].wav", "take x.wav", "dir [1]/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"RIFF")
    monkeypatch.chdir(tmp_path)

    async def names(pattern: str) -> list[str]:
        listing = await sources([pattern], load({}), media=True)
        return [item.source.path.relative_to(tmp_path).as_posix() for item in listing.found]

    assert await names("take [x].wav") == ["take [x].wav"]
    assert await names("take [xy].wav") == ["take x.wav"]
    assert await names("dir [1]/*.wav") == ["dir [1]/a.wav"]
    assert await names("dir [1]") == ["dir [1]/a.wav"]


class ManyKeys(Sequence[str]):
    """Sorted keys that are computed, so that the server needs no memory for them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [f"big/{number:08}.wav" for number in range(*index.indices(self.count))]
        return f"big/{index:08}.wav"


@pytest.mark.parametrize(
    "count", [20_000, pytest.param(1_000_000, marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])]
)
async def test_the_memory_of_a_listing_does_not_grow(count: int) -> None:
    with listing_server(ManyKeys(count)) as endpoint:
        tracemalloc.start()
        try:
            found, at_first = 0, 0
            async for _ in list_sources(parse(f"s3://{BUCKET}/big/"), settings_of(endpoint)):
                found += 1
                if found == 5000:
                    gc.collect()
                    at_first = tracemalloc.get_traced_memory()[0]
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - at_first
        finally:
            tracemalloc.stop()
    assert found == count
    # The server in this process and Python's table of interned names need some memory as well, 2 to 8 MB. A list of a
    # million keys would need 60 MB or more.
    assert grown < 12_000_000
