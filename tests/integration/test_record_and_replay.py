"""Sessions recorded in STT_RECORD_DIR are played back by the server, with the same transcript."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.audiofiles import WAV, write_words
from tests.support.pipeline_run import KEY, tone_service, transcribe
from tests.support.tones import ToneWord, speech
from tests.support.wait import allowed_s, async_wait_until
from worker.errors import EndpointError
from worker.realtime import recording_client
from worker.realtime.session_recording import Entry, read_recording
from worker.server import app
from worker.server.replay_session import NoRecognizer
from worker.settings import Settings, load
from worker.transcript.model import Transcript


@asynccontextmanager
async def replaying(recordings: Sequence[Sequence[Entry]]) -> AsyncIterator[Settings]:
    settings = load({"STT_API_KEY": KEY, "STT_SERVER_PORT": "0"})
    server = await app.start(settings, NoRecognizer(), recordings=recordings)
    try:
        await server.ready()
        yield settings.model_copy(update={"url": server.url})
    finally:
        await server.close()


def recorded(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{recording_client.SUFFIX}"))


def call(tmp_path: Path, length_s: float = 8.0) -> tuple[list[ToneWord], Path]:
    words = list(speech(length_s, seed=3))
    return words, write_words(tmp_path / "call.wav", words, 16000, WAV)


def heard(transcript: Transcript) -> list[tuple[str, float, float]]:
    """Return each word with the times of its segment. The times are 0 if the service sent none, because estimated times
    depend on the speed of the machine."""
    return [
        (word, *((one.start, one.end) if one.timing == "measured" else (0, 0)))
        for one in transcript.segments
        for word in one.text.split()
    ]


@pytest.mark.parametrize(
    ("faults", "sessions"),
    [
        ([], 1),
        (["drop=4:1"], 2),
        (["error=transcriber_error@4:1"], 2),
        (["close=4:1", "plain-only", "echo"], 2),
        (["forget-tail", "triplicate", "pair-gap=0.2"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
async def test_a_replay_gives_the_same_transcript(tmp_path: Path, faults: Sequence[str], sessions: int) -> None:
    words, path = call(tmp_path)
    folder = tmp_path / "recordings"
    async with tone_service(*faults) as settings:
        first = await transcribe(path, settings.model_copy(update={"record_dir": str(folder)}))
    files = recorded(folder)
    assert len(files) == sessions
    async with replaying([read_recording(file) for file in files]) as settings:
        second = await transcribe(path, settings)
    assert [text for text, _, _ in heard(first)] == [word.text for word in words]
    assert heard(second) == heard(first)
    assert [one.ended for one in second.sessions] == [one.ended for one in first.sessions]


async def test_a_recording_has_no_audio_and_no_secret_and_is_private(tmp_path: Path) -> None:
    _, path = call(tmp_path, 4.0)
    folder = tmp_path / "recordings"
    async with tone_service(f"error=oddity {KEY}@2:1", STT_SESSION_RETRIES="1") as settings:
        await transcribe(path, settings.model_copy(update={"record_dir": str(folder)}))
    for file in recorded(folder):
        text = file.read_text()
        assert KEY not in text
        assert "audio_base_64" not in text
        assert "audio-chunk" in text
        assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_a_refused_connection_is_recorded(tmp_path: Path) -> None:
    _, path = call(tmp_path, 2.0)
    async with tone_service("http=401") as settings:
        with pytest.raises(EndpointError):
            await transcribe(path, settings.model_copy(update={"record_dir": str(tmp_path / "r")}))
    (file,) = recorded(tmp_path / "r")
    (entry,) = read_recording(file)
    assert (entry.sender, entry.event) == ("service", "refused")


async def test_a_full_disk_ends_the_recording_but_not_the_job(tmp_path: Path) -> None:
    words, path = call(tmp_path)
    (tmp_path / "file").touch()
    async with tone_service() as settings:
        transcript = await transcribe(path, settings.model_copy(update={"record_dir": str(tmp_path / "file" / "r")}))
    assert [text for text, _, _ in heard(transcript)] == [word.text for word in words]


async def test_a_killed_process_leaves_what_it_has_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_client, "FLUSH_S", 0.0)
    _, path = call(tmp_path)
    async with tone_service() as settings:
        running = asyncio.create_task(transcribe(path, settings.model_copy(update={"record_dir": str(tmp_path / "r")})))
        # The session runs, so its recording is not closed yet.
        await async_wait_until(lambda: any(f.stat().st_size > 1000 for f in recorded(tmp_path / "r")), "entries")
        assert not running.done()
        await running


async def test_the_size_and_the_number_of_recordings_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_client, "MAX_FILE_BYTES", 2000)
    monkeypatch.setattr(recording_client, "MAX_FILES", 2)
    words, path = call(tmp_path)
    folder = tmp_path / "r"
    async with tone_service() as service:
        settings = service.model_copy(update={"record_dir": str(folder)})
        names = []
        for _ in range(4):
            transcript = await transcribe(path, settings)
            names.append(recorded(folder)[-1].name)
    assert [text for text, _, _ in heard(transcript)] == [word.text for word in words]
    assert [file.name for file in recorded(folder)] == names[-2:]
    assert all(file.stat().st_size <= 2000 for file in recorded(folder))


async def test_a_replay_ends_with_a_client_that_sends_less_audio(tmp_path: Path) -> None:
    _, path = call(tmp_path)
    (tmp_path / "short").mkdir()
    _, short = call(tmp_path / "short", 3.0)
    folder = tmp_path / "r"
    async with tone_service() as settings:
        await transcribe(path, settings.model_copy(update={"record_dir": str(folder)}))
    async with replaying([read_recording(file) for file in recorded(folder)]) as settings:
        async with asyncio.timeout(allowed_s(20)):
            transcript = await transcribe(short, settings)
    assert transcript.sessions[-1].ended == "completed"
