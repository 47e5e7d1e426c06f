"""Calls with separate channels: from an object store, from the web, and from a watched folder."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import obstore
import redis

from tests.integration.test_cli_watch import Watching, watching
from tests.support.audiofiles import FLAC, write_signal
from tests.support.faulty_web import faulty_web
from tests.support.fleet import Fleet
from tests.support.s3_server import BUCKET, S3Server, store_of
from tests.support.tones import ToneWord, encode, speech
from tests.support.wait import wait_until
from worker.transcript.model import Transcript

__all__ = ["watching"]  # a fixture
RATE = 16000
NAMES = ("agent", "客戶")


def write_call(path: Path, seed: int) -> list[list[str]]:
    """Write a call in which two speakers speak at the same time. Returns the words of each speaker."""
    said: list[list[ToneWord]] = [
        list(speech(6.0, seed=seed + k, numbers=itertools.count(1 + 500 * k))) for k in range(2)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    both = np.stack([encode(words, RATE, duration_s=7.0) for words in said], axis=1)
    write_signal(path, both, RATE, FLAC)
    return [[word.text for word in words] for words in said]


def heard(transcript: Transcript) -> list[list[str]]:
    assert transcript.coverage.complete
    return [[w.text for s in transcript.segments if s.channel == name for w in s.words] for name in NAMES]


def test_split_from_a_store_and_from_the_web_through_the_intake(
    fleet: Fleet, s3: S3Server, raw: redis.Redis, tmp_path: Path
) -> None:
    stored, served = tmp_path / "stored.flac", tmp_path / "served.flac"
    said = {"stored": write_call(stored, 10), "served": write_call(served, 20)}
    obstore.put(store_of(s3), "fleet-channels/call.flac", stored.read_bytes(), use_multipart=False)
    options = {"channels": "split", "channel_names": NAMES}
    with faulty_web(served.read_bytes()) as web:
        allowed = {**s3.environ, "STT_ALLOWED_SOURCES": f"s3://{BUCKET},http://{web.host}"}
        jobs = {
            "stored": {"source": f"s3://{BUCKET}/fleet-channels/call.flac", **options},
            "served": {"source": web.url("ok", "call.flac"), **options},
            "third": {"source": f"s3://{BUCKET}/fleet-channels/call.flac", "channels": 3},
        }
        for path in (stored, served):
            path.unlink()
        fleet.start(**allowed)
        asked = {str(raw.xadd("stt:intake", {"job": json.dumps(job)})): name for name, job in jobs.items()}
        wait_until(lambda: raw.xlen("stt:intake:replies") == len(jobs), "the worker's intake answers", timeout_s=60)
        ids = {asked[reply["request"]]: reply["job"] for _, reply in raw.xrange("stt:intake:replies")}
        fleet.until_ended(*ids.values())
    assert {name: heard(fleet.transcript(ids[name])) for name in said} == said
    assert fleet.record(ids["third"]).error_code == "source_channel"


def test_split_in_a_watched_folder(watching: Watching, fleet: Fleet) -> None:
    fleet.start()
    said = write_call(watching.folder / "monday" / "call.flac", 30)
    watching.start("--channels", "split", "--channel-names", ",".join(NAMES))
    watching.until("done", "monday/call.flac")
    document = (watching.out / "monday" / "call.flac.json").read_text("utf-8")
    assert heard(Transcript.model_validate_json(document)) == said
    assert "客戶: " in (watching.out / "monday" / "call.flac.srt").read_text("utf-8")
    watching.end()
