"""The official Python client of OpenAI with this server: every format, streaming, errors, clients that go away."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.api import KEYS, Api, api_settings, running_api
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import async_wait_until
from worker.ledger.ledger import JobState

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def recording(seconds: float = 2.0) -> tuple[str, bytes]:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\1" * int(8000 * seconds))
    return "speech.wav", data.getvalue()


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path, http_sync_max_s=5)) as api:
        yield api


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncOpenAI]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key=KEYS["alice"], max_retries=0, timeout=30) as client:
        yield client


async def work(api: Api) -> str:
    (identity,) = await api.begun()
    await api.transcribe(identity, words=2)
    return identity


async def test_every_response_format(api: Api, client: AsyncOpenAI) -> None:
    worker = asyncio.create_task(work(api))
    call = client.audio.transcriptions.create
    plain = await call(model="whisper-1", file=recording(), prompt="ignored", temperature=0.2, language="en")
    assert plain.text == "word 0 word 1"
    # The audio is known, so the other formats need no worker.
    text = await call(model="whisper-1", file=recording(), response_format="text", language="en")
    assert text == "word 0 word 1\n"
    srt = await call(model="whisper-1", file=recording(), response_format="srt", language="en")
    assert "00:00:00,000 --> 00:00:02,000" in srt
    vtt = await call(model="whisper-1", file=recording(), response_format="vtt", language="en")
    assert vtt.startswith("WEBVTT")
    verbose = await call(
        model="whisper-1",
        file=recording(),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
    )
    assert [word.word for word in verbose.words or ()] == ["word 0", "word 1"]
    assert [(one.id, one.start, one.end) for one in verbose.segments or ()] == [(0, 0.0, 1.0), (1, 1.0, 2.0)]
    assert verbose.segments
    assert verbose.segments[0].avg_logprob < 0
    record = await api.context.ledger.get(await worker)
    assert record is not None
    assert '"priority":"high"' in record.spec
    assert '"language":"en"' in record.spec


async def test_a_stream_brings_the_text_as_it_is_committed(api: Api, client: AsyncOpenAI) -> None:
    stream = await client.audio.transcriptions.create(model="whisper-1", file=recording(), stream=True)
    (identity,) = await api.begun()
    lease = await api.lease(identity)
    await api.commit(lease, 0)
    first = await anext(stream)  # before the job has ended
    assert (first.type, first.delta) == ("transcript.text.delta", "word 0")
    await api.commit(lease, 1)
    await lease.finish(a_transcript(identity, (a_segment("word 0", 0, 1), a_segment("word 1", 1, 2))), [])
    rest = [event async for event in stream]
    assert [event.type for event in rest] == ["transcript.text.delta", "transcript.text.done"]
    assert rest[-1].text == first.delta + rest[0].delta == "word 0 word 1"


async def test_the_models(client: AsyncOpenAI) -> None:
    import openai

    models = [model.id async for model in client.models.list()]
    assert "whisper-1" in models
    assert (await client.models.retrieve("whisper-1")).id == "whisper-1"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no-such-model")


async def test_errors_are_those_of_the_client_library(api: Api, client: AsyncOpenAI) -> None:
    import openai
    from openai import AsyncOpenAI

    call = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError, match="response_format 'xml' is not supported"):
        await call(model="whisper-1", file=recording(), response_format="xml")  # type: ignore[call-overload]
    with pytest.raises(openai.BadRequestError, match="timestamp_granularities needs"):
        await call(model="whisper-1", file=recording(), timestamp_granularities=["word"])
    with pytest.raises(openai.APIStatusError) as long:
        await call(model="whisper-1", file=recording(6.0))
    assert long.value.status_code == 413
    assert long.value.param == "file"
    assert "POST /v1/jobs" in str(long.value)
    assert not await api.context.ledger.recent_jobs()
    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()
    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key=KEYS["reader"], max_retries=0) as reader:
        with pytest.raises(openai.PermissionDeniedError):
            await reader.audio.transcriptions.create(model="whisper-1", file=recording())


REFUSED = (
    ("language", {"language": "no such language"}),
    ("language", {"language": "../etc"}),
    ("language", {"language": "x" * 36}),
    ("response_format", {"response_format": "xml"}),
    ("response_format", {"response_format": "JSON"}),
    ("temperature", {"temperature": "warm"}),
    ("temperature", {"temperature": 1.5}),
    ("temperature", {"temperature": float("nan")}),
    ("stream", {"extra_body": {"stream": "perhaps"}}),
    ("stream", {"response_format": "srt", "extra_body": {"stream": "true"}}),
    ("timestamp_granularities", {"timestamp_granularities": ["word"]}),
    ("timestamp_granularities", {"timestamp_granularities": ["day"], "response_format": "verbose_json"}),
    ("file", {"file": ("a.wav", b"")}),
    ("file", {"file": ("a.wav", b"no audio")}),
)


async def test_every_wrong_parameter_is_a_bad_request_that_names_it(api: Api, client: AsyncOpenAI) -> None:
    import openai

    for param, arguments in REFUSED:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.transcriptions.create(**{"model": "whisper-1", "file": recording(), **arguments})  # type: ignore[call-overload]
        error = refused.value
        assert (error.param, error.type, bool(error.code)) == (param, "invalid_request_error", True), arguments
    raw = ({"files": {"language": (None, b"\xff")}}, {"files": {"file": (None, "text")}})
    for param, form in zip(("language", "file"), raw, strict=True):
        answer = await api.alice.post("/v1/audio/transcriptions", **form)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert not await api.context.ledger.recent_jobs()


async def test_a_file_that_is_no_audio_is_refused_at_once(api: Api, client: AsyncOpenAI) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match=r"a\.png") as refused:
        await client.audio.transcriptions.create(model="whisper-1", file=("a.png", b"\x89PNG\r\n\x1a\n" + bytes(64)))
    assert str(api.context.settings.uploads) not in str(refused.value)
    assert not await api.context.ledger.recent_jobs()


@pytest.mark.parametrize("stream", [False, True])
async def test_unusable_audio_is_an_error_without_paths(api: Api, client: AsyncOpenAI, stream: bool) -> None:
    import openai

    async def call() -> str:
        answer = await client.audio.transcriptions.create(model="whisper-1", file=recording(), stream=stream)  # type: ignore[call-overload]
        return "".join([event.delta async for event in answer]) if stream else answer.text

    calling = asyncio.create_task(call())
    (identity,) = await api.begun()
    record = await api.context.ledger.get(identity)
    assert record is not None
    await api.fail(identity, "source_damaged", f"{api.context.settings.uploads}/x/a.wav: nothing in it is audio")
    with pytest.raises(openai.APIError, match="nothing in it is audio") as failed:
        await calling
    assert str(api.context.settings.uploads) not in str(failed.value)
    assert stream or isinstance(failed.value, openai.BadRequestError)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_cancels_only_what_nobody_else_wants(
    api: Api, client: AsyncOpenAI, stream: bool
) -> None:
    async def call() -> None:
        answer = await client.audio.transcriptions.create(model="whisper-1", file=recording(), stream=stream)
        if stream:
            async for _ in answer:  # type: ignore[union-attr]
                pass

    async def state() -> JobState:
        record = await api.context.ledger.get(identity)
        assert record is not None
        return record.state

    first, second = asyncio.create_task(call()), asyncio.create_task(call())
    (identity,) = await api.begun()
    await async_wait_until(lambda: api.context.hub.followers == 2, "both wait")
    first.cancel()
    await async_wait_until(lambda: api.context.hub.followers == 1, "one has gone")
    assert await state() is JobState.QUEUED
    second.cancel()
    for _ in range(500):
        if await state() is JobState.CANCELLED:
            break
        await asyncio.sleep(0.02)
    assert await state() is JobState.CANCELLED


async def test_a_job_that_was_submitted_otherwise_survives_the_client(api: Api, client: AsyncOpenAI) -> None:
    name, content = recording()
    calling = asyncio.create_task(client.audio.transcriptions.create(model="whisper-1", file=(name, content)))
    (identity,) = await api.begun()
    job = await api.upload(content, name, priority="high")
    assert job["id"] == identity
    await async_wait_until(lambda: api.context.hub.followers == 1, "the client waits")
    calling.cancel()
    await async_wait_until(lambda: api.context.hub.followers == 0, "the client has gone")
    await asyncio.sleep(0.1)
    record = await api.context.ledger.get(identity)
    assert record is not None
    assert record.state is JobState.QUEUED
