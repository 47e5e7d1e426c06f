"""Jobs only transcribe the submitted content: files that change, move or vanish during streaming."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.support import audiofiles
from tests.support.audiofiles import Coding, write_words
from tests.support.faulty_web import faulty_web
from tests.support.pipeline_run import MemoryLog, assert_said, tone_service, transcribe
from tests.support.tones import speech
from worker.errors import SourceChanged, WorkerShortage
from worker.pipeline.job import KnownContent, ResumeState
from worker.pipeline.start_content import StartContent
from worker.settings import load
from worker.storage.address import parse
from worker.storage.sources.wildcards import content_of
from worker.transcript.model import Segment

WORDS = list(speech(20, seed=7))
OTHERS = list(speech(20, seed=8))
PACE = 16.0
Change = Callable[[Path], None]


class ChangingLog(MemoryLog):
    """Changes the source at the first commit."""

    def __init__(self, path: Path, change: Change) -> None:
        super().__init__()
        self._path, self._change = path, change

    async def commit(self, segment: Segment) -> None:
        if not self.segments:
            self._change(self._path)
        await super().commit(segment)


def other_bytes(path: Path) -> bytes:
    """Another recording of the same size."""
    other = write_words(path.with_name("other.wav"), OTHERS, 16000).read_bytes()
    size = path.stat().st_size
    return other[:size].ljust(size, b"\0")


def renamed(path: Path) -> None:
    path.rename(path.with_name("elsewhere.wav"))


def replaced(path: Path) -> None:
    other = path.with_name("new.wav")
    other.write_bytes(other_bytes(path))
    other.replace(path)


def moved_away_and_replaced(path: Path) -> None:
    renamed(path)
    path.write_bytes(b"no audio at all")


def touched(path: Path) -> None:
    os.utime(path)


def unreadable(path: Path) -> None:
    path.chmod(0)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(32000))


def rewritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(other_bytes(path))


def rewritten_with_the_old_time(path: Path) -> None:
    was = path.stat()
    rewritten(path)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "coding", "sessions"),
    [
        (Path.unlink, audiofiles.WAV, 1),
        (Path.unlink, audiofiles.MP3, 3),
        (renamed, audiofiles.WAV, 3),
        (renamed, audiofiles.VORBIS, 1),
        (replaced, audiofiles.FLAC, 3),
        (moved_away_and_replaced, audiofiles.WAV, 1),
        (touched, audiofiles.WAV, 1),
        (unreadable, audiofiles.WAV, 3),
    ],
)
@pytest.mark.gate_sample(2)
async def test_the_path_is_not_used_after_the_file_was_opened(
    tmp_path: Path, change: Change, coding: Coding, sessions: int
) -> None:
    source = write_words(tmp_path / f"call.{coding.ending}", WORDS, 16000, coding)
    expected = hashlib.sha256(source.read_bytes()).hexdigest()
    async with tone_service() as settings:
        log = ChangingLog(source, change)
        transcript = await transcribe(source, settings, speed=PACE, log=log, sessions=sessions)
    assert_said(transcript, WORDS)
    assert transcript.source.sha256 == expected
    assert transcript.warnings == ()


async def test_a_symbolic_link_is_followed_only_once(tmp_path: Path) -> None:
    write_words(tmp_path / "a.wav", WORDS, 16000)
    write_words(tmp_path / "b.wav", OTHERS, 16000)
    link = tmp_path / "call.wav"
    link.symlink_to("a.wav")

    def retarget(path: Path) -> None:
        path.unlink()
        path.symlink_to("b.wav")

    async with tone_service() as settings:
        transcript = await transcribe(link, settings, speed=PACE, log=ChangingLog(link, retarget), sessions=2)
    assert_said(transcript, WORDS)


@pytest.mark.parametrize(
    ("change", "sessions"),
    [(truncated, 1), (truncated, 2), (appended, 1), (rewritten, 1), (rewritten, 2), (rewritten_with_the_old_time, 1)],
)
async def test_a_file_that_is_modified_during_streaming_gives_no_transcript(
    tmp_path: Path, change: Change, sessions: int
) -> None:
    source = write_words(tmp_path / "call.wav", WORDS, 16000)
    async with tone_service() as settings:
        with pytest.raises(SourceChanged, match=r"call\.wav: its content has changed while .*stt-batch retry test-job"):
            await transcribe(source, settings, speed=PACE, log=ChangingLog(source, change), sessions=sessions)


@pytest.mark.parametrize("hash_was_known", [True, False])
@pytest.mark.parametrize("change", [replaced, rewritten, rewritten_with_the_old_time, truncated])
@pytest.mark.gate_sample(2)
async def test_a_job_resumes_only_with_its_own_content(tmp_path: Path, change: Change, hash_was_known: bool) -> None:
    source = write_words(tmp_path / "call.wav", WORDS, 16000)
    async with tone_service() as settings:
        log = MemoryLog()
        await transcribe(source, settings, log=log)
        began = log.contents[-1]
        assert began.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
        if not hash_was_known:  # the worker was killed before it recorded the hash
            began = replace(began, sha256=None)
        resume, content = ResumeState(committed=tuple(log.segments[:1])), KnownContent(start=began)
        assert_said(await transcribe(source, settings, resume=resume, content=content), WORDS)
        change(source)
        with pytest.raises(SourceChanged, match="since the job began; the committed text is kept"):
            await transcribe(source, settings, resume=resume, content=content)


async def test_a_job_resumes_with_equal_content_in_another_file(tmp_path: Path) -> None:
    source = write_words(tmp_path / "call.wav", WORDS, 16000)
    async with tone_service() as settings:
        log = MemoryLog()
        await transcribe(source, settings, log=log)
        copy = tmp_path / "copy.wav"
        copy.write_bytes(source.read_bytes())
        copy.replace(source)
        resume, content = ResumeState(committed=tuple(log.segments[:1])), KnownContent(start=log.contents[-1])
        assert_said(await transcribe(source, settings, resume=resume, content=content), WORDS)


async def test_a_file_that_was_replaced_before_the_job_started_is_not_streamed(tmp_path: Path) -> None:
    source = write_words(tmp_path / "call.wav", WORDS, 16000)
    named = await content_of(parse(str(source)), load({}))
    rewritten_with_the_old_time(source)
    async with tone_service() as settings:
        log = MemoryLog()
        with pytest.raises(SourceChanged, match="since the job was submitted"):
            await transcribe(source, settings, log=log, content=KnownContent(submitted=named))
    assert (log.segments, log.reports) == ([], [])


@pytest.mark.parametrize("validator", ["ok", "no-etag"])
async def test_replaced_content_at_a_url_is_refused(tmp_path: Path, validator: str) -> None:
    """A change is detected by the hash of the download, and before the first attempt by the server's validators."""
    first = write_words(tmp_path / "a.wav", WORDS, 16000).read_bytes()
    second = write_words(tmp_path / "b.wav", OTHERS, 16000).read_bytes()
    async with tone_service(STT_ALLOWED_SOURCES="*,http://127.0.0.1", STT_TEMP_DIR=str(tmp_path / "temp")) as settings:
        with faulty_web(first) as web:
            url, log = web.url(validator), MemoryLog()
            named = await content_of(parse(url), settings)
            content = KnownContent(submitted=named)
            assert_said(await transcribe(url, settings, log=log, content=content), WORDS)
            began = log.contents[-1]
            assert began == StartContent(None, hashlib.sha256(first).hexdigest())
            web.content = second
            resume = ResumeState(committed=tuple(log.segments[:1]))
            with pytest.raises(SourceChanged, match="since the job began"):
                await transcribe(url, settings, resume=resume, content=KnownContent(start=began))
            with pytest.raises(SourceChanged, match="since the job was submitted"):
                await transcribe(url, settings, content=content)


async def test_a_shortage_while_connecting_ends_the_attempt_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a lack of file descriptors were treated as a failed session, the retries would be used up, and audio would be
    missing."""
    tries = 0

    async def no_descriptor(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    source = write_words(tmp_path / "call.wav", WORDS, 16000)
    async with tone_service() as settings:
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", no_descriptor)
        with pytest.raises(WorkerShortage, match="too many files open"):
            await transcribe(source, settings)
    assert tries == 1, "the other transport would lack the same resource"
