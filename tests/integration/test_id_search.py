"""Ids of jobs and batches by their beginning; texts and pauses that live displays read from Redis."""

from __future__ import annotations

import json
import time

import pytest
import redis

from worker.errors import BadJob
from worker.ledger.key_pause import limiter_key
from worker.ledger.ledger import Ledger
from worker.settings import Settings

SPEC = json.dumps({"source": "/a.wav", "out_dir": "/out"})


async def test_the_beginning_of_one_id_is_completed(ledger: Ledger) -> None:
    for name, batch in (("8c0f3a11", None), ("8c0f3b22", "monday"), ("f00", "monday-late"), ("a*b[1]", None)):
        await ledger.create(name, SPEC, batch=batch)
    search = ledger.id_search
    assert await search.complete("8c0f3a") == "8c0f3a11"
    assert await search.complete("f") == "f00"
    assert await search.complete("monday-") == "monday-late"
    assert await search.complete("monday") == "monday"  # a whole name wins over the beginning of another one
    assert await search.complete("nobody") == "nobody"  # the caller reports it
    assert await search.complete("") == ""
    with pytest.raises(BadJob, match=r"several jobs or batches begin with it \(8c0f3a11, 8c0f3b22\)"):
        await search.complete("8c")


@pytest.mark.parametrize("text", ["*", "?c0f", "[8]c", "\\", "8*1", "^"])
async def test_characters_of_patterns_mean_themselves(ledger: Ledger, text: str) -> None:
    await ledger.create("8c0f3a11", SPEC)
    assert await ledger.id_search.complete(text) == text
    await ledger.create("a*b[1]", SPEC)
    assert await ledger.id_search.complete("a*b[") == "a*b[1]"


async def test_expired_jobs_are_not_found(ledger: Ledger, raw: redis.Redis) -> None:
    for name in ("8c0f3a11", "8c0f3b22"):
        await ledger.create(name, SPEC)
    raw.delete("stt:job:8c0f3b22")
    assert await ledger.id_search.complete("8c0f") == "8c0f3a11"


async def test_the_last_words_are_those_of_the_newest_commits(ledger: Ledger, raw: redis.Redis) -> None:
    for number in range(9):
        segment = json.dumps({"text": f"word{number}", "start": number, "end": number + 1})
        raw.xadd("stt:job:a:commits", {"epoch": "1", "segment": segment})
    raw.xadd("stt:job:a:commits", {"other": "program"})
    raw.set("stt:job:b:commits", "another type")
    assert await ledger.recent_text.of(["a", "b", "none"]) == ["word6 word7 word8", "", ""]
    assert await ledger.recent_text.of([]) == []


async def test_a_pause_of_the_key_is_read(ledger: Ledger, settings: Settings, raw: redis.Redis) -> None:
    assert await ledger.key_pause.left_s() == 0.0
    key = limiter_key(settings, "state")
    raw.hset(key, "closed", str(int((time.time() + 40) * 1000)))
    assert 38 < await ledger.key_pause.left_s() <= 40
    for value in ("1", "soon", "9" * 30):
        raw.hset(key, "closed", value)
        assert await ledger.key_pause.left_s() == 0.0
