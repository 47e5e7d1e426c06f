"""Object stores as sources and outputs: a real S3 server, and plain HTTP servers as Google Cloud Storage and Azure."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tests.support.listing_server import StoreHandler, serving
from tests.support.pipeline_run import MemoryLog
from tests.support.ports import free_port
from tests.support.rendering import render
from tests.support.s3_server import BUCKET, S3Server
from tests.unit.transcript.build import segment, transcript
from worker.errors import (
    OutputError,
    OutputUnavailable,
    SourceChanged,
    SourceNotFound,
    SourceRefused,
    SourceReplaced,
    SourceUnavailable,
)
from worker.pipeline.job import Job, KnownContent
from worker.pipeline.source_change_check import guarded
from worker.settings import Settings, load
from worker.storage import object_store
from worker.storage.address import parse
from worker.storage.object_store import put
from worker.storage.outputs.deliver import deliver
from worker.storage.sources import download
from worker.storage.sources.download import local_copy, open_remote
from worker.storage.sources.wildcards import content_of, list_sources

SPOKEN = transcript(segment("早晨 Good morning.", 1.0, 2.0))


@pytest.fixture
def settings(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    object_store._store_of.cache_clear()
    yield load({"STT_S3_ENDPOINT": s3.endpoint, "STT_TEMP_DIR": str(tmp_path / "temp")})
    object_store._store_of.cache_clear()


def store_of(s3: S3Server) -> S3Store:
    return S3Store(BUCKET, endpoint=s3.endpoint, client_options={"allow_http": True})


async def test_an_object_is_written_and_read(settings: Settings) -> None:
    data = bytes(range(256)) * 20_000  # more than one chunk
    await put(parse("s3://calls/深/a b+c%20d.bin"), data, "application/x-test", settings.s3_endpoint)
    async with local_copy(parse("s3://calls/深/a b+c%20d.bin"), settings) as local:
        with local.file.open() as file:
            assert file.read() == data
        assert (local.name, local.shown) == ("a b+c%20d.bin", "s3://calls/深/a b+c%20d.bin")


async def test_a_replaced_object_is_detected(settings: Settings) -> None:
    """The replacement has the same length: the ETag differs before the job begins, and the hash after that."""
    job = Job(id="test-job", source=parse("s3://calls/replaced.wav"), speed=1.0, language=None)
    place = job.source
    await put(place, b"RIFF first", "audio/wav", settings.s3_endpoint)
    named, log = await content_of(job.source, settings), MemoryLog()
    async with local_copy(job.source, settings) as local, guarded(job, local, log):
        assert local.content == named
    (began,) = log.contents
    for content in (KnownContent(submitted=named), KnownContent(start=began)):
        async with local_copy(job.source, settings) as local, guarded(replace(job, content=content), local, log):
            pass
    await put(place, b"RIFF other", "audio/wav", settings.s3_endpoint)
    for content in (KnownContent(submitted=named), KnownContent(start=began)):
        async with local_copy(job.source, settings) as local:
            with pytest.raises(SourceChanged, match=r"s3://calls/replaced\.wav: its content has changed since"):
                async with guarded(replace(job, content=content), local, log):
                    pass


async def test_a_read_continues_only_with_the_same_version(settings: Settings) -> None:
    place = parse("s3://calls/changing.bin")
    await put(place, b"0123456789", "x/y", settings.s3_endpoint)
    async with open_remote(place, settings) as body:
        version = body.version
    assert version.size_bytes == 10
    async with open_remote(place, settings, 4, version) as body:
        assert body.offset == 4
        assert b"".join([chunk async for chunk in body.chunks]) == b"456789"
    await put(place, b"abcdefghij", "x/y", settings.s3_endpoint)
    with pytest.raises(SourceReplaced, match=r"s3://calls/changing\.bin: was replaced"):
        async with open_remote(place, settings, 4, version):
            pass


@pytest.mark.parametrize("url", ["s3://calls/none.wav", "s3://no-such-bucket/a.wav"])
async def test_missing_objects_and_buckets(settings: Settings, url: str) -> None:
    with pytest.raises(SourceNotFound, match=f"{url}: there is no such object"):
        async with local_copy(parse(url), settings):
            pass
    with pytest.raises(SourceNotFound):
        await content_of(parse(url), settings)


async def test_refused_credentials(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(parse("s3://calls/a.wav"), b"x", "x/y", settings.s3_endpoint)
    object_store._store_of.cache_clear()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    with pytest.raises(
        SourceRefused, match=r"refuses the credentials of this worker \(SignatureDoesNotMatch\)"
    ) as caught:
        async with local_copy(parse("s3://calls/a.wav"), settings):
            pass
    assert "another-secret" not in str(caught.value)
    with pytest.raises(OutputError, match=r"cannot write s3://calls/b\.json: the store refuses"):
        await deliver(SPOKEN, [parse("s3://calls")], "b", ["json"], settings)
    assert await content_of(parse("s3://calls/a.wav"), settings) == "url:s3://calls/a.wav"


async def test_missing_credentials(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}/169.254.169.254")
    with pytest.raises(SourceRefused, match="has no credentials for it; set AWS_ACCESS_KEY_ID"):
        async with local_copy(parse("s3://calls/a.wav"), settings):
            pass

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * object_store.PART_BYTES
        yield b"more"

    with pytest.raises(OutputError, match=r"cannot write .*: this worker has no credentials") as caught:
        await object_store.put_stream(parse("s3://calls/a.wav"), chunks(), settings.s3_endpoint)
    assert not isinstance(caught.value, OutputUnavailable), "a retry cannot help"


async def test_a_store_that_does_not_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF_S", (0.01, 0.02))
    monkeypatch.setitem(object_store._RETRY, "max_retries", 1)
    away = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(SourceUnavailable, match=r"s3://calls/a\.wav: "):
        async with local_copy(parse("s3://calls/a.wav"), away):
            pass
    with pytest.raises(OutputUnavailable, match=r"cannot write s3://calls/a\.json: "):
        await deliver(SPOKEN, [parse("s3://calls")], "a", ["json"], away)


@contextmanager
def refusing_store(status: int, code: str, times: int) -> Iterator[tuple[str, list[str]]]:
    """Run a store that refuses the first requests. Yields its endpoint and the methods of all requests."""
    methods: list[str] = []

    class Handler(StoreHandler):
        def do_GET(self) -> None:  # noqa: N802  the name that http.server looks up
            methods.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refused = len(methods) <= times
            body = f"<Error><Code>{code}</Code></Error>".encode() if refused else b"RIFF"
            self.answer(status if refused else 200, body)

        do_PUT = do_GET  # noqa: N815  the name that http.server looks up

    with serving(Handler) as endpoint:
        yield endpoint, methods


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF_S", (0.01, 0.02))
    pauses = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2), "base": 2}
    monkeypatch.setitem(object_store._RETRY, "backoff", pauses)


@pytest.mark.usefixtures("without_pauses")
async def test_a_store_that_asks_to_slow_down_gets_the_request_again(settings: Settings) -> None:
    address = parse("s3://calls/a.wav")
    with refusing_store(503, "SlowDown", 2) as (endpoint, methods):
        async with local_copy(address, settings.model_copy(update={"s3_endpoint": endpoint})):
            pass
        assert methods.count("GET") >= 3
    with refusing_store(503, "SlowDown", 2) as (endpoint, methods):
        await put(address, b"x", "x/y", endpoint)
        assert methods == ["PUT"] * 3


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("status", [400, 403])
async def test_expired_credentials_are_a_temporary_failure_with_a_remedy(settings: Settings, status: int) -> None:
    address, reason = parse("s3://calls/a.wav"), r"have expired \(ExpiredToken\); set AWS_ACCESS_KEY_ID.* restart"
    with refusing_store(status, "ExpiredToken", 1_000) as (endpoint, _):
        with pytest.raises(SourceUnavailable, match=reason):
            async with local_copy(address, settings.model_copy(update={"s3_endpoint": endpoint})):
                pass
        with pytest.raises(OutputUnavailable, match=reason):
            await put(address, b"x", "x/y", endpoint)
        with pytest.raises(SourceUnavailable, match=reason):
            [found async for found in object_store.listing(parse("s3://calls/in"), endpoint)]


# -- listing -----------------------------------------------------------------------------------------------------------
KEYS = ["monday/a.wav", "monday/b.MP3", "monday/notes.txt", "monday/deep/er/c.flac", "monday/.hidden/d.wav", "e.wav",
        "mondays/f.wav", "monday/talk.m4a"]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/monday/", ["a.wav", "b.MP3", "deep/er/c.flac", "talk.m4a"]),
        ("in/monday/**", ["a.wav", "b.MP3", "deep/er/c.flac", "talk.m4a"]),
        ("in/monday/*", ["a.wav", "b.MP3", "talk.m4a"]),
        ("in/monday/*.txt", ["notes.txt"]),
        ("in/**/*.wav", ["e.wav", "monday/.hidden/d.wav", "monday/a.wav", "mondays/f.wav"]),
        ("in/mon*/?.wav", ["monday/a.wav", "mondays/f.wav"]),
        ("in/monday/[ab].*", ["a.wav", "b.MP3"]),
        ("in/monday/[!a].*", ["b.MP3"]),
        ("in/e.wav", ["e.wav"]),
        ("in/none/", []),
    ],
)
async def test_listing(settings: Settings, s3: S3Server, pattern: str, found: list[str]) -> None:
    for key in KEYS:
        await obstore.put_async(store_of(s3), f"in/{key}", b"sound", use_multipart=False)
    listed = [item async for item in list_sources(parse(f"s3://{BUCKET}/{pattern}"), settings)]
    assert sorted(str(item.place) for item in listed) == sorted(found)
    assert all(item.size_bytes == 5 and item.address.text.endswith(str(item.place)) for item in listed)


async def test_a_listing_with_several_pages(settings: Settings, s3: S3Server) -> None:
    store = store_of(s3)
    for number in range(1100):
        await obstore.put_async(store, f"many/{number:04}.wav", b"x", use_multipart=False)
    listed = [str(item.place) async for item in list_sources(parse(f"s3://{BUCKET}/many/**"), settings)]
    assert listed == [f"{number:04}.wav" for number in range(1100)]


async def test_listing_missing_sources(settings: Settings) -> None:
    with pytest.raises(SourceNotFound):
        _ = [item async for item in list_sources(parse(f"s3://{BUCKET}/none.wav"), settings)]
    web = [item async for item in list_sources(parse("https://host/x/%20a.wav?sig=1"), settings)]
    assert [(item.address.text, str(item.place)) for item in web] == [("https://host/x/%20a.wav?sig=1", " a.wav")]


# -- sinks -------------------------------------------------------------------------------------------------------------
async def test_delivery_to_several_places(settings: Settings, s3: S3Server, tmp_path: Path) -> None:
    folders = [parse(text) for text in (str(tmp_path / "out"), f"s3://{BUCKET}/texts/", f"s3://{BUCKET}")]
    for _ in range(2):  # repeating it gives the same files
        written = await deliver(SPOKEN, folders, "monday/call.wav", ["srt", "json"], settings)
    assert written == (
        str(tmp_path / "out/monday/call.wav.srt"),
        str(tmp_path / "out/monday/call.wav.json"),
        f"s3://{BUCKET}/texts/monday/call.wav.srt",
        f"s3://{BUCKET}/texts/monday/call.wav.json",
        f"s3://{BUCKET}/monday/call.wav.srt",
        f"s3://{BUCKET}/monday/call.wav.json",
    )
    store = store_of(s3)
    for fmt in ("srt", "json"):
        got = obstore.get(store, f"texts/monday/call.wav.{fmt}")
        assert (
            bytes(got.bytes()).decode() == render(SPOKEN, fmt) == (tmp_path / f"out/monday/call.wav.{fmt}").read_text()
        )
    assert obstore.get(store, "texts/monday/call.wav.json").attributes["Content-Type"] == "application/json"


async def test_a_failing_place_does_not_stop_delivery_to_the_others(
    settings: Settings, s3: S3Server, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folders = ["s3://no_such_bucket", str(tmp_path / "file"), f"s3://{BUCKET}/kept", "https://host/put"]
    with pytest.raises(OutputError) as caught:
        await deliver(SPOKEN, [parse(folder) for folder in folders], "call", ["txt"], settings)
    for reason in ("s3://no_such_bucket/call.txt: ", "a part of the path is a file", "https://host/put: transcripts"):
        assert reason in str(caught.value)
    assert bytes(obstore.get(store_of(s3), "kept/call.txt").bytes()).decode() == render(SPOKEN, "txt")


@pytest.mark.parametrize("name", ["../call", "/call", ""])
async def test_a_name_never_leaves_its_prefix(settings: Settings, name: str) -> None:
    with pytest.raises(OutputError, match="must be a path inside the output folder s3://calls/x"):
        await deliver(SPOKEN, [parse("s3://calls/x")], name, ["json"], settings)


# -- the other two -----------------------------------------------------------------------------------------------------
async def _one_answer(listener: socket.socket) -> bytes:
    """Answer one request with five bytes. Returns the request."""
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listener)
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await loop.sock_recv(connection, 65536)
        head = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "1"\r\nConnection: close\r\n'
        await loop.sock_sendall(connection, head + b"Last-Modified: Mon, 23 Nov 2026 03:02:00 GMT\r\n\r\nhello")
        return request


@pytest.mark.parametrize(
    ("url", "path"),
    [("gs://bucket/in/a.wav", b"GET /bucket/in%2Fa%2Ewav"), ("az://box/in/a.wav", b"GET /box/in/a.wav")],
)
async def test_google_and_azure_get_the_credentials_of_the_environment(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, path: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        account = {
            "gcs_base_url": endpoint,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        (tmp_path / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", endpoint)
        answering = asyncio.create_task(_one_answer(listener))
        async with local_copy(parse(url), settings) as local:
            with local.file.open() as file:
                assert file.read() == b"hello"
            assert local.name == "a.wav"
        request = await answering
    assert request.startswith(path)
    assert (b"SharedKey account:" in request) == url.startswith("az")


async def test_azure_without_an_account(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SourceRefused, match="set AZURE_STORAGE_ACCOUNT_NAME"):
        async with local_copy(parse("az://box/a.wav"), settings):
            pass
    with pytest.raises(OutputError, match="set AZURE_STORAGE_ACCOUNT_NAME"):
        await deliver(SPOKEN, [parse("az://box")], "a", ["json"], settings)
