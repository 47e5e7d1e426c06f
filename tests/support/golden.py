"""Golden files: each has the Redis data that one version of this project wrote. Later versions must be able to read
the data and finish its jobs.

    python -m tests.support.golden          writes tests/golden/ledger-vN.json with the current code

A file is written once for each version N of the schema (`worker.ledger.schema`). Its keys were written by a real worker
that was killed during two jobs. In a file, `@FOLDER@` is a placeholder for the folder of the audio.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Final
from unittest.mock import AsyncMock, patch

import redis

from tasks import cancel, pause, submit
from tasks.client.producer import Producer
from tests.support.audiofiles import write_words
from tests.support.fleet import RATE, Fleet, tone_server
from tests.support.redis_server import redis_server
from tests.support.samples_of import a_transcript
from tests.support.tones import ToneWord, speech
from tests.support.wait import wait_until
from worker.ledger import schema
from worker.ledger.connection import RedisConnection
from worker.ledger.lease import Lease
from worker.settings import Settings
from worker.storage.address import parse
from worker.transcript.model import Coverage, Gap
from worker.webhooks.outbox import Outbox

FOLDER: Final = Path(__file__).parents[1] / "golden"
HOOK: Final = "http://receiver.golden"
PLACE, HOST = "@FOLDER@", "a-host"
# Name of each job, with the length in seconds and the random seed of its audio.
AUDIO: Final = {
    **{"done": (6.0, 1), "long": (320.0, 2), "single": (22.0, 3), "queued": (8.0, 4), "paused": (5.0, 5)},
    **{"delayed": (5.0, 6), "cancelled": (5.0, 7), "failed": (5.0, 8), "unwritten": (5.0, 9), "incomplete": (5.0, 10)},
    "intake": (5.0, 11),
}


def audio(folder: Path, *names: str) -> dict[str, list[ToneWord]]:
    """Write the audio of the jobs `names`, or of all jobs. Returns the spoken words of each job."""
    said = {}
    for name in names or AUDIO:
        duration_s, seed = AUDIO[name]
        said[name] = list(speech(duration_s, seed=seed))
        write_words(folder / f"{name}.wav", said[name], RATE)
    return said


def restore(client: redis.Redis, path: Path, folder: Path, hook: str) -> None:
    """Write the keys of the golden file `path` to Redis. `folder`: the folder of the audio. `hook`: URL of the webhook
    receiver. They replace the placeholders in the file."""
    text = path.read_text("utf-8").replace(PLACE, str(folder)).replace(HOOK, hook)
    for key, (kind, value) in json.loads(text)["keys"].items():
        if kind == "string":
            client.set(key, value)
        elif kind == "hash":
            client.hset(key, mapping=value)
        elif kind == "set":
            client.sadd(key, *value)
        elif kind == "zset":
            client.zadd(key, dict(value))
        elif kind == "list":
            client.rpush(key, *value)
        else:
            for entry, fields in value:
                client.xadd(key, fields, id=entry)
        if key.startswith("stt:"):
            client.expire(key, 3600)


def dump(client: redis.Redis, folder: Path) -> dict[str, Any]:
    """Return all keys of a Redis in the format that `restore` reads, with placeholders for `folder` and this host."""
    read = {
        "string": client.get,
        "hash": client.hgetall,
        "set": lambda key: sorted(client.smembers(key)),
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "list": lambda key: client.lrange(key, 0, -1),
        "stream": client.xrange,
    }
    keys = {key: (kind := str(client.type(key)), read[kind](key)) for key in sorted(client.scan_iter("*"))}
    text = json.dumps(keys, ensure_ascii=False).replace(str(folder), PLACE).replace(socket.gethostname(), HOST)
    return dict(json.loads(text))


def make(folder: Path, url: str, endpoint: str) -> dict[str, Any]:
    """Create jobs in every state, with the Redis at `url` and the service at `endpoint`. Returns the content of a
    golden file."""
    audio(folder)
    (folder / "failed.wav").unlink()
    (folder / "nowhere").write_text("a file, where a folder should be")
    fleet = Fleet(folder, url, endpoint, {"STT_ALLOWED_WEBHOOKS": "*", "STT_LEASE_S": "30"})
    settings = fleet.settings

    def send(name: str, **options: Any) -> None:
        options = {"out_dir": folder / "out", "webhook": f"{HOOK}/ok/{name}", "batch": "golden", **options}
        submit(folder / f"{name}.wav", settings=settings, idempotency_key=f"g-{name}", **options)

    worker = fleet.start(sessions=2)
    send("done", formats=("json", "srt"))
    send("failed")
    send("unwritten", out_dir=folder / "nowhere" / "below")
    fleet.until_ended("g-done", "g-failed", "g-unwritten")
    send("single", speed=1.5)
    wait_until(lambda: fleet.committed("g-single"), "it has one of the two places", timeout_s=20)
    send("long", speed=24.0, sessions=2)
    wait_until(lambda: fleet.record("g-long").progress.committed_s > 200, "it is in its second section", timeout_s=30)
    worker.kill()
    send("queued", priority="high", formats=("json", "vtt"), language="en")
    send("paused")
    pause("g-paused", settings=settings)
    send("cancelled")
    cancel("g-cancelled", settings=settings)
    send("delayed")
    send("incomplete")
    asyncio.run(by_hand(settings))
    with fleet.raw as raw:
        raw.xadd("stt:intake", {"job": json.dumps({"source": f"{folder}/intake.wav"}), "key": "g-intake"})
        return {"version": schema.VERSION, "keys": dump(raw, folder)}


async def by_hand(settings: Settings) -> None:
    """Create the states that no transcription of tone words leads to: a delayed job, an incomplete transcript, a batch,
    and a webhook that cannot be delivered."""
    producer, connection = Producer(settings), RedisConnection(settings.redis_url)
    lease = await producer.ledger.acquire("g-delayed", "golden:1")
    assert isinstance(lease, Lease)
    await lease.postpone(60, "session_lost", "the connection broke")
    lease = await producer.ledger.acquire("g-incomplete", "golden:2")
    assert isinstance(lease, Lease)
    gap = Gap(start=1.0, end=2.0, reason="not sent")
    coverage = Coverage(duration=5.0, sent=4.0, committed_until=1.0, missing=(gap,))
    await lease.finish(a_transcript("g-incomplete").model_copy(update={"coverage": coverage}), ())
    await producer.watch_batch("golden", parse(f"{HOOK}/ok/batch"))
    outbox = Outbox(settings, connection)
    (first,) = (await outbox.claim(1)).messages
    await outbox.dead_letter(first, "HTTP 410")
    await producer.close()
    await connection.close()


def main() -> int:
    path = FOLDER / f"ledger-v{schema.VERSION}.json"
    if path.exists():
        print(f"{path} is there: the file of a version must not change", file=sys.stderr)  # noqa: T201
        return 1
    # The worker has no secret, so that all webhooks still wait. Producers would refuse such jobs.
    unchecked = patch.object(Producer, "check_webhooks", AsyncMock())
    with tempfile.TemporaryDirectory() as name, redis_server() as url, tone_server(Path(name)) as endpoint, unchecked:
        found = make(Path(name).resolve(), url, endpoint)
    path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
