"""Sources in an object store, results in Redis and in the store, and workers without access to the producer's disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import obstore
import pytest
from obstore.store import S3Store

from tasks.client.handles import submit, submit_many
from tests.support import audiofiles, tones
from tests.support.audiofiles import Coding, write_words
from tests.support.fleet import Fleet, assert_every_key_ends, tone_server
from tests.support.mediafiles import MEDIA, write_media
from tests.support.pipeline_run import assert_said
from tests.support.redis_server import redis_server
from tests.support.s3_server import BUCKET, S3Server, s3_server
from tests.support.tones import ToneWord, speech
from tests.support.wait import wait_until
from worker.ledger.ledger import JobState
from worker.transcript.model import Transcript

CODINGS: tuple[Coding, ...] = (audiofiles.WAV, audiofiles.FLAC, audiofiles.MP3, audiofiles.OPUS, audiofiles.MULAW)
MEDIA_NAMES = ("m4a-aac", "mp4-aac", "webm-opus", "mkv-flac")


@pytest.fixture(scope="module")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with tone_server(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture
def store() -> Iterator[tuple[S3Server, S3Store]]:
    with s3_server() as server:
        yield (
            server,
            S3Store(
                BUCKET,
                endpoint=server.endpoint,
                access_key_id=server.environ["AWS_ACCESS_KEY_ID"],
                secret_access_key=server.environ["AWS_SECRET_ACCESS_KEY"],
                region="us-east-1",
                client_options={"allow_http": True},
            ),
        )


def sounds(folder: Path, count: int) -> dict[str, list[ToneWord] | str]:
    """Write files of every kind to `folder`. Returns the words, or the expected error code, by file name."""
    said: dict[str, list[ToneWord] | str] = {}
    media = [one for one in MEDIA if one.name in MEDIA_NAMES]
    for number in range(count):
        words = list(speech(2.5, seed=number))
        kind = number % (len(CODINGS) + len(media) + 1)
        if kind < len(CODINGS):
            coding = CODINGS[kind]
            name = f"call-{number}.{coding.ending}"
            write_words(folder / name, words, coding.rates[0], coding, duration_s=3.5)
            said[name] = words
        elif kind < len(CODINGS) + len(media):
            one = media[kind - len(CODINGS)]
            name = f"call-{number}.{one.ending}"
            write_media(folder / name, tones.encode(words, one.rate, duration_s=3.5), one)
            said[name] = words
        else:
            name = f"broken-{number}.wav"
            (folder / name).write_bytes(np.random.default_rng(number).bytes(2000))
            said[name] = "source_unsupported"
    return said


@pytest.mark.parametrize("count", [30, pytest.param(500, marks=[pytest.mark.chaos, pytest.mark.timeout(1200)])])
def test_workers_transcribe_from_and_to_an_object_store(
    tmp_path: Path,
    store: tuple[S3Server, S3Store],
    service_url: str,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    server, bucket = store
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "in"
    folder.mkdir()
    said = sounds(folder, count)
    for name in said:
        obstore.put(bucket, f"in/{name}", (folder / name).read_bytes(), use_multipart=False)
    shutil.rmtree(folder)  # only the store has the files now

    temp = tmp_path / "temp"
    with redis_server() as redis_url:
        fleet = Fleet(
            tmp_path,
            redis_url,
            service_url,
            {
                "STT_S3_ENDPOINT": server.endpoint,
                "STT_TEMP_DIR": str(temp),
                "STT_ALLOWED_SOURCES": f"s3://{BUCKET}/in",
                "STT_ALLOWED_OUTPUTS": f"s3://{BUCKET}/texts",
                "STT_SPEED": "max",
            },
        )
        try:
            started = time.monotonic()
            batch = submit_many(
                [f"s3://{BUCKET}/in/{name}" for name in said],
                out_dir=f"s3://{BUCKET}/texts",
                formats=("json", "srt"),
                settings=fleet.settings,
            )
            jobs = dict(zip(said, batch.jobs, strict=True))
            first = fleet.start(sessions=4)
            wait_until(lambda: _done(fleet, jobs.values()) >= 3, "some are done", timeout_s=60)
            first.kill()  # its downloads stay on disk
            fleet.start(sessions=4)
            fleet.until_ended(*(job.id for job in jobs.values()), timeout_s=60 + count)
            took_s = time.monotonic() - started
            for name, words in said.items():
                record = fleet.record(jobs[name].id)
                if isinstance(words, str):
                    assert (record.state, record.error_code) == (JobState.FAILED, words), (name, record.error)
                    assert f"s3://{BUCKET}/in/{name}" in (record.error or "")
                    assert str(temp) not in (record.error or "")
                    continue
                assert record.state is JobState.DONE, (name, record.error)
                transcript = fleet.transcript(record.id)
                assert_said(transcript, words, 0.06)
                assert transcript.source.path == f"s3://{BUCKET}/in/{name}"
                assert transcript.source.name == name
                stem = Path(name).stem
                assert record.outputs == tuple(f"s3://{BUCKET}/texts/{stem}.{fmt}" for fmt in ("json", "srt"))
                written = bytes(obstore.get(bucket, f"texts/{stem}.json").bytes())
                assert Transcript.model_validate_json(written) == transcript
                assert b"-->" in bytes(obstore.get(bucket, f"texts/{stem}.srt").bytes())
            leftovers = [path for path in temp.rglob("*") if path.is_file() and path.suffix != ".lock"]
            assert not leftovers
            _assert_no_secret(fleet, server)
        finally:
            fleet.close()
        assert_every_key_ends(redis_url)
    print(f"{count} sources in {took_s:.1f} s")  # noqa: T201


def _done(fleet: Fleet, jobs: object) -> int:
    with fleet.raw as raw:
        return sum(raw.hget(f"stt:job:{job.id}", "state") == "done" for job in jobs)  # type: ignore[attr-defined]


def _assert_no_secret(fleet: Fleet, server: S3Server) -> None:
    secret = server.environ["AWS_SECRET_ACCESS_KEY"]
    assert all(secret not in worker.text() for worker in fleet.workers)
    with fleet.raw as raw:
        read = {"string": raw.get, "hash": raw.hgetall, "stream": raw.xrange}
        for key in raw.scan_iter("stt:*"):
            kind = raw.type(key)
            assert kind not in read or secret not in str(read[kind](key)), key


def test_a_worker_refuses_sources_outside_its_access_policy(tmp_path: Path, service_url: str) -> None:
    """The access policy also applies to complete job messages. The rules are tested in test_access_policy.py."""
    with redis_server() as redis_url:
        fleet = Fleet(tmp_path, redis_url, service_url, {"STT_ALLOWED_SOURCES": f"{tmp_path}/in"})
        secret, _ = fleet.audio("secret")
        shutil.move(secret, tmp_path / "secret.wav")
        good, words = fleet.audio("good", 3.0)
        try:
            fleet.start()
            producer = fleet.settings.model_copy(
                update={"allowed_sources": "*"}
            )  # so that the worker refuses, not the producer
            refused = submit(tmp_path / "secret.wav", settings=producer)
            allowed = submit(good, settings=producer)
            fleet.until_ended(refused.id, allowed.id)
            record = fleet.record(refused.id)
            assert (record.state, record.error_code) == (JobState.FAILED, "source_refused")
            fleet.assert_done(allowed.id, words)
        finally:
            fleet.close()
