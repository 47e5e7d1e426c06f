"""Downloads from a faulty web server are complete, or are refused with the reason. No file stays on the disk."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.faulty_web import FaultyWeb, faulty_web
from tests.support.ports import free_port
from tests.support.wait import wait_until
from worker.errors import BadJob, SourceError, SourceNotFound, SourceRefused, SourceUnavailable, WorkerShortage
from worker.settings import Settings, load
from worker.storage.address import parse
from worker.storage.sources import download, web
from worker.storage.sources.download import local_copy
from worker.storage.sources.wildcards import content_of

CONTENT = np.random.default_rng(1).bytes(3_000_001)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF_S", (0.01, 0.02))


@pytest.fixture
def server() -> Iterator[FaultyWeb]:
    with faulty_web(CONTENT) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"STT_TEMP_DIR": str(tmp_path / "temp"), "STT_ALLOWED_SOURCES": "*"})


def left_behind(settings: Settings) -> list[Path]:
    """Return the files below the folder for downloads, without the lock file."""
    return list(Path(settings.temp_dir).glob("worker-*/**/*"))


def tries_without_progress(server: FaultyWeb) -> int:
    """Return the highest number of connections in a row without new bytes. Only the number of these connections is
    limited. A request shows at which byte the previous connection ended. No request follows the last connection, so it
    is treated as one without new bytes."""
    starts = [int(range_.removeprefix("bytes=").removesuffix("-") or 0) for _, range_ in server.requests]
    longest = row = furthest = 0
    for start in starts[1:]:
        row = 0 if start > furthest else row + 1
        furthest = max(furthest, start)
        longest = max(longest, row)
    return longest + 1


async def downloaded(url: str, settings: Settings) -> bytes:
    async with local_copy(parse(url), settings) as local:
        assert local.file.name.endswith("call.wav")
        with local.file.open() as file:
            data = file.read()
        assert local.sha256 == hashlib.sha256(data).hexdigest()
    assert not left_behind(settings)
    return data


@pytest.mark.parametrize(
    "fault", ["ok", "moved", "drop", "no-range", "changed", "chunked", "no-etag", "3-times-503", "2-times-429"]
)
async def test_what_comes_through(server: FaultyWeb, settings: Settings, fault: str) -> None:
    assert await downloaded(server.url(fault), settings) == CONTENT


async def test_a_dropped_connection_is_gone_on_with_where_it_broke(server: FaultyWeb, settings: Settings) -> None:
    await downloaded(server.url("drop"), settings)
    first, *others = [range_ for _, range_ in server.requests]
    starts = [int(range_.removeprefix("bytes=").removesuffix("-")) for range_ in others]
    # The bytes received just before the connection broke may be lost, but no others.
    assert first == ""
    assert starts == sorted(set(starts))
    assert 0 < starts[0] <= 1_000_001 < starts[-1]


@pytest.mark.parametrize(
    ("fault", "error", "reason"),
    [
        ("404", SourceNotFound, r"does not exist \(HTTP 404"),
        ("403", SourceRefused, r"is refused \(HTTP 403 Forbidden\); a signed address may have expired"),
        ("401", SourceRefused, "HTTP 401"),
        ("400", SourceError, r"sends no content \(HTTP 400"),
        ("204", SourceError, r"sends no content \(HTTP 204"),
        ("500", SourceUnavailable, r"its server fails \(HTTP 500"),
        ("loop", SourceError, "more than 5 redirects"),
        ("to-file", SourceError, "redirects to a target that is not a web address"),
        ("compressed", SourceError, r"is sent compressed \(gzip\)"),
        ("no-range-ever", SourceUnavailable, "the connection broke"),
        ("drop-at-once", SourceUnavailable, "the connection broke"),
    ],
)
async def test_what_does_not(
    server: FaultyWeb, settings: Settings, fault: str, error: type[SourceError], reason: str
) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        await downloaded(server.url(fault) + "?sig=secret", settings)
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)
    assert f"http://{server.host}/{fault}/call.wav?…" in str(caught.value)
    # Each try may follow five redirects, which are requests, too.
    assert tries_without_progress(server) <= (6 if fault == "loop" else download.MAX_FAILURES)
    assert not left_behind(settings)


async def test_less_than_the_server_said(server: FaultyWeb, settings: Settings) -> None:
    """The download ends with an error: either the server refuses the range after the end, or the connection ends early
    again and again."""
    with pytest.raises(SourceUnavailable, match=r"ends before the length that its server names|the connection broke"):
        await downloaded(server.url("too-short"), settings)
    assert tries_without_progress(server) <= download.MAX_FAILURES
    assert not left_behind(settings)


async def test_nobody_answers(settings: Settings) -> None:
    with pytest.raises(SourceUnavailable, match="cannot be reached: Connect"):
        await downloaded(f"http://127.0.0.1:{free_port()}/call.wav", settings)


async def test_a_server_that_falls_silent(
    server: FaultyWeb, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_TIMEOUT", web.aiohttp.ClientTimeout(total=None, sock_read=0.05))
    with pytest.raises(SourceUnavailable, match="the connection broke: "):
        await downloaded(server.url("stuck"), settings)


async def test_a_download_has_a_limit_of_time(server: FaultyWeb, settings: Settings) -> None:
    short = settings.model_copy(update={"download_timeout_s": 0.2})
    with pytest.raises(SourceUnavailable, match=r"could not be downloaded within 0\.2 s \(STT_DOWNLOAD_TIMEOUT_S\)"):
        await downloaded(server.url("stuck"), short)
    assert not left_behind(settings)


# -- room on the disk --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["ok", "chunked"])
async def test_a_source_that_is_too_large(server: FaultyWeb, settings: Settings, fault: str) -> None:
    small = settings.model_copy(update={"downloads_max_gb": 0.002})
    with pytest.raises(SourceError, match=r"has more than 0\.002 GB \(STT_DOWNLOADS_MAX_GB\)") as caught:
        await downloaded(server.url(fault), small)
    assert not caught.value.retryable
    assert not left_behind(settings)


async def test_downloads_wait_for_room(server: FaultyWeb, settings: Settings) -> None:
    small = settings.model_copy(update={"downloads_max_gb": 0.007, "download_timeout_s": 20})
    async with local_copy(parse(server.url("ok")), small), local_copy(parse(server.url("ok")), small):
        third = asyncio.create_task(downloaded(server.url("ok", "third-call.wav"), small))
        await asyncio.to_thread(wait_until, lambda: len(server.requests) == 3, "the third one asks")
        assert not third.done()
        with pytest.raises(WorkerShortage, match="other downloads use the whole space"):
            async with local_copy(parse(server.url("chunked")), small):
                pass
    assert await third == CONTENT


async def test_a_full_disk_is_told(server: FaultyWeb, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.storage.sources.temp_space.MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(WorkerShortage, match=r"call\.wav: not enough disk space: .* set STT_TEMP_DIR"):
        await downloaded(server.url("ok"), settings)


@pytest.mark.parametrize("how", ["error", "cancel"])
async def test_the_file_goes_whatever_happens(server: FaultyWeb, settings: Settings, how: str) -> None:
    here = asyncio.Event()

    async def use() -> None:
        async with local_copy(parse(server.url("ok")), settings):
            assert left_behind(settings)
            here.set()
            if how == "error":
                raise RuntimeError
            await asyncio.sleep(60)

    task = asyncio.create_task(use())
    await here.wait()
    if how == "cancel":
        task.cancel()
    await asyncio.wait([task])
    assert not left_behind(settings)


# -- what may be read --------------------------------------------------------------------------------------------------
async def test_private_addresses_are_refused(server: FaultyWeb, settings: Settings) -> None:
    public = settings.model_copy(update={"allowed_sources": ""})
    with pytest.raises(SourceRefused, match="has a private address"):
        await downloaded(server.url("ok"), public)
    assert not server.requests


async def test_a_name_that_leads_to_a_private_address(
    server: FaultyWeb, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.host.rpartition(":")[2])
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here)
    public = settings.model_copy(update={"allowed_sources": ""})
    with pytest.raises(SourceRefused, match=r"example\.com:\d+/ok/call\.wav: has a private address"):
        await downloaded(f"http://files.example.com:{port}/ok/call.wav", public)
    assert not server.requests


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost."])
async def test_odd_spellings_of_this_machine(server: FaultyWeb, settings: Settings, host: str) -> None:
    port = server.host.rpartition(":")[2]
    with pytest.raises((SourceError, BadJob), match=r"private address|is not a valid address"):
        await downloaded(f"http://{host}:{port}/ok/call.wav", settings.model_copy(update={"allowed_sources": ""}))
    assert not server.requests


async def test_a_redirect_is_checked_as_well(server: FaultyWeb, settings: Settings) -> None:
    listed = settings.model_copy(update={"allowed_sources": f"http://{server.host}"})
    assert await downloaded(server.url("moved"), listed) == CONTENT
    with pytest.raises(SourceRefused, match="is not within STT_ALLOWED_SOURCES"):
        await downloaded(server.url("to-localhost"), listed)
    assert await downloaded(server.url("to-localhost"), settings) == CONTENT


async def test_a_link_out_of_what_is_allowed(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "secret.wav").write_bytes(b"x")
    (inside / "link.wav").symlink_to(tmp_path / "secret.wav")
    (inside / "a.wav").write_bytes(b"x")
    base = inside.resolve()
    settings = load({"STT_ALLOWED_SOURCES": str(base)})
    async with local_copy(parse(str(base / "a.wav")), settings) as local:
        assert os.path.samestat(local.file.stat(), (base / "a.wav").stat())
    with pytest.raises(SourceRefused):
        async with local_copy(parse(str(base / "link.wav")), settings):
            pass


async def test_a_path_is_taken_as_it_is(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    async with local_copy(parse(str(tmp_path / "a.wav")), settings) as local:
        assert (str(local.file), local.name, local.shown) == (local.shown, "a.wav", str(tmp_path / "a.wav"))
    assert (tmp_path / "a.wav").exists()


# -- identity ----------------------------------------------------------------------------------------------------------
async def test_the_identity_of_a_content(server: FaultyWeb, settings: Settings) -> None:
    first = await content_of(parse(server.url("ok") + "?sig=1"), settings)
    assert first == await content_of(parse(server.url("ok") + "?sig=2"), settings)
    assert first != await content_of(parse(server.url("ok", "other.wav")), settings)
    server.etag = '"another"'
    assert first != await content_of(parse(server.url("ok")), settings)
    assert "sig=3" in await content_of(parse(server.url("no-etag") + "?sig=3"), settings)
    assert await content_of(parse(server.url("500")), settings) == f"url:{server.url('500')}"
    assert await content_of(parse(server.url("403")), settings) == f"url:{server.url('403')}"
    with pytest.raises(SourceNotFound):
        await content_of(parse(server.url("404")), settings)
    with pytest.raises(SourceRefused):
        await content_of(parse(server.url("ok")), settings.model_copy(update={"allowed_sources": ""}))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EIO, errno.ESTALE])
async def test_a_folder_for_downloads_that_cannot_be_made_now(
    server: FaultyWeb, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A shortage such as a full disk is no error of the settings: the job is retried."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    fresh = settings.model_copy(update={"temp_dir": str(tmp_path / "fresh")})
    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(WorkerShortage, match="cannot be used for downloads now"):
        await downloaded(server.url("ok"), fresh)


@pytest.mark.parametrize(
    "given",
    [f"bytes 0-5/{'9' * 5000}", f"bytes {'9' * 5000}-5/6", f"bytes 0-{'9' * 5000}/6", "bytes 0-5/١٢", "bytes ²-5/6"],
)
async def test_a_part_with_a_number_that_is_none_is_refused(
    given: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python refuses to convert a number of more than 4,300 digits. An earlier version of this worker therefore
    ended the job with the error `internal`."""
    monkeypatch.setattr(download, "MAX_FAILURES", 1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 206 Partial Content\r\nContent-Range: {given}\r\nContent-Length: 1\r\n\r\na".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(SourceUnavailable, match="without a valid Content-Range"):
            await downloaded(f"http://127.0.0.1:{port}/call.wav", settings)
