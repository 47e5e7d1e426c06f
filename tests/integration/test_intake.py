"""The intake with a real Valkey: jobs, invalid entries, replies, dead consumers."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.background.intake import GROUP, MAX_BYTES, MAX_DELIVERIES, MAX_PER_POLL, Intake, start_intake
from tasks.client.producer import Producer
from tasks.event_loop import LoopThread
from tests.support.fleet import environment
from tests.support.forked_process import start_process
from tests.support.wait import wait_until
from worker.errors import WorkerShortage
from worker.ledger.connection import RedisConnection
from worker.ledger.ledger import JobState
from worker.settings import Settings
from worker.storage.address import Address
from worker.storage.sources.identify import SourceIdentifier

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def intake(settings: Settings, producer: Producer) -> AsyncIterator[Intake]:
    connection = RedisConnection(settings.redis_url)
    yield Intake(settings, producer, connection)
    await connection.close()


@pytest.fixture
def audio(tmp_path: Path) -> Callable[[str], str]:
    def make(name: str) -> str:
        path = tmp_path / name
        path.write_bytes(name.encode())
        return str(path)

    return make


def add(raw: redis.Redis, **job: Any) -> str:
    return str(raw.xadd("stt:intake", {"job": json.dumps(job)}))


def replies(raw: redis.Redis) -> dict[str, dict[str, str]]:
    return {fields["request"]: fields for _, fields in raw.xrange("stt:intake:replies")}


def queued(raw: redis.Redis) -> int:
    return int(raw.llen("stt:celery:stt"))


async def test_an_entry_becomes_a_job(intake: Intake, producer: Producer, raw: redis.Redis, audio: Any) -> None:
    request = add(raw, source=audio("電話.wav"), out_dir="/results", formats=["json", "srt"], batch="b")
    assert await intake.once() == 1
    reply = replies(raw)[request]
    assert reply["state"] == "queued"
    status = await producer.status(reply["job"])
    assert (status.state, status.batch, Path(status.source).name) == (JobState.QUEUED, "b", "電話.wav")
    assert queued(raw) == 1
    assert raw.xlen("stt:intake") == 0
    assert raw.xpending("stt:intake", GROUP)["pending"] == 0
    assert await intake.once() == 0

    again = add(raw, source=audio("電話.wav"), out_dir="/results", formats=["json", "srt"])
    with_key = str(raw.xadd("stt:intake", {"job": json.dumps({"source": "/not/here.wav"}), "key": "call-1"}))
    assert await intake.once() == 2
    assert replies(raw)[again]["job"] == reply["job"], "the same audio with the same options"
    assert replies(raw)[with_key]["job"] == "call-1"


async def test_invalid_entries_are_refused_and_valid_ones_continue(
    intake: Intake, redis_url: str, raw: redis.Redis, audio: Any
) -> None:
    with redis.Redis.from_url(redis_url) as binary:
        good = [add(raw, source=audio("1.wav"))]
        bad = [
            add(raw, sauce="/a.wav"),
            str(raw.xadd("stt:intake", {"job": "{"})),
            str(raw.xadd("stt:intake", {"nothing": "here"})),
            binary.xadd("stt:intake", {b"\xff\xfe": b"\x00\xff"}).decode(),
            binary.xadd("stt:intake", {b"job": b'{"source": "/\xff"}'}).decode(),
            binary.xadd("stt:intake", {b"job": b"A" * 3_000_000}).decode(),
            str(raw.xadd("stt:intake", {f"field-{n}": "x" for n in range(500)})),
            add(raw, source="/no/such/file.wav"),
            add(raw, source="/tmp"),
        ]
        good.append(add(raw, source=audio("2.wav")))
    assert await intake.once() == 11
    found = replies(raw)
    assert {request for request in found if "job" in found[request]} == set(good)
    assert {request for request in found if found[request].get("refused") and found[request]["reason"]} == set(bad)
    assert found[bad[5]]["reason"] == f"field 'job' has more than {MAX_BYTES} bytes"
    assert (found[bad[7]]["refused"], found[bad[8]]["refused"]) == ("source_not_found", "source")
    assert raw.xlen("stt:intake") == 0
    assert queued(raw) == 2
    with redis.Redis.from_url(redis_url) as binary:
        kept = {fields[b"request"].decode(): fields for _, fields in binary.xrange("stt:intake:refused")}
        assert set(kept) == set(bad)
        assert kept[bad[4]][b"job"] == b'{"source": "/\xff"}'
        assert binary.memory_usage("stt:intake:refused") < 200_000


async def test_above_the_limit_the_newest_entries_are_refused(
    settings: Settings, producer: Producer, raw: redis.Redis, audio: Any
) -> None:
    connection = RedisConnection(settings.redis_url)
    intake = Intake(settings.model_copy(update={"queue_max": 50}), producer, connection)
    source = audio("1.wav")
    requests = [
        str(raw.xadd("stt:intake", {"job": json.dumps({"source": source}), "key": f"j{n}"})) for n in range(3000)
    ]
    sizes = []
    while await intake.once():
        sizes.append(raw.xlen("stt:intake"))
    assert max(sizes) <= 2000
    found = replies(raw)
    assert set(found) == set(requests), "every entry gets a reply"
    accepted = [n for n, request in enumerate(requests) if "job" in found[request]]
    assert accepted[:50] == list(range(50)), "the oldest are accepted"
    assert len(accepted) < 150
    refused = found[requests[-1]]
    assert (refused["refused"], refused["reason"]) == ("queue_full", "50 entries wait already (STT_QUEUE_MAX)")
    assert raw.xlen("stt:intake:refused") == 0, "the entries themselves are valid"
    assert all(raw.ttl(key) > 0 for key in raw.scan_iter("stt:*"))
    await connection.close()


async def test_with_a_full_queue_entries_are_refused_until_there_is_room(
    settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    settings = settings.model_copy(update={"queue_max": 2})
    producer, connection = Producer(settings), RedisConnection(settings.redis_url)
    intake = Intake(settings, producer, connection)
    for n in range(2):
        add(raw, source=audio(f"{n}.wav"))
        await intake.once()
    third = add(raw, source=audio("3.wav"))
    await intake.once()
    assert replies(raw)[third]["refused"] == "queue_full"
    again = add(raw, source=audio("0.wav"))
    await intake.once()
    assert replies(raw)[again]["state"] == "queued", "a queued job is not a new one"
    await producer.ledger.acquire_next("", "w")
    third = add(raw, source=audio("3.wav"))
    await intake.once()
    assert replies(raw)[third]["state"] == "queued"
    await producer.close()
    await connection.close()


async def test_every_key_expires(intake: Intake, raw: redis.Redis, audio: Any) -> None:
    add(raw, source=audio("1.wav"), batch="b")
    raw.xadd("stt:intake", {"job": "poison"})
    await intake.once()
    endless = [name for name in raw.scan_iter("stt:*") if raw.ttl(name) < 0]
    assert not endless
    assert {"stt:intake", "stt:intake:replies", "stt:intake:refused", "stt:events"} <= set(raw.scan_iter("stt:*"))


async def test_entries_of_a_dead_process_are_claimed_by_another(
    intake: Intake, raw: redis.Redis, audio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await intake.once()
    requests = {add(raw, source=audio(f"{n}.wav")) for n in range(5)}
    raw.xreadgroup(GROUP, "dead", {"stt:intake": ">"})
    assert await intake.once() == 0, "entries of a living process are not claimed"
    monkeypatch.setattr("tasks.background.intake.claim_ms", lambda _: 0)
    assert await intake.once() == 5
    assert set(replies(raw)) == requests
    assert raw.xpending("stt:intake", GROUP)["pending"] == 0


async def test_an_entry_that_crashes_its_processes_is_refused(
    intake: Intake, raw: redis.Redis, audio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await intake.once()
    request = add(raw, source=audio("1.wav"))
    raw.xreadgroup(GROUP, "dead", {"stt:intake": ">"})
    raw.xclaim("stt:intake", GROUP, "dead", 0, [request], retrycount=MAX_DELIVERIES)
    monkeypatch.setattr("tasks.background.intake.claim_ms", lambda _: 0)
    assert await intake.once() == 1
    assert "never answered" in replies(raw)[request]["reason"]
    assert queued(raw) == 0


async def test_several_processes_share_the_work(
    settings: Settings, producer: Producer, raw: redis.Redis, audio: Any
) -> None:
    connection = RedisConnection(settings.redis_url)
    several = [Intake(settings, producer, connection) for _ in range(3)]
    requests = {add(raw, source=audio(f"{n}.wav")) for n in range(3 * MAX_PER_POLL)}
    assert await asyncio.gather(*(one.once() for one in several)) == [MAX_PER_POLL] * 3
    assert set(replies(raw)) == requests
    assert queued(raw) == 3 * MAX_PER_POLL
    await connection.close()


def test_the_intake_recovers_after_redis_lost_all_keys(settings: Settings, raw: redis.Redis, audio: Any) -> None:
    loop = LoopThread()
    work = start_intake(settings, loop)
    try:
        first = add(raw, source=audio("1.wav"))
        wait_until(lambda: first in replies(raw), "the first gets a reply")
        raw.flushall()
        second = add(raw, source=audio("2.wav"))
        wait_until(lambda: second in replies(raw), "the second gets a reply")
    finally:
        work.cancel()
        wait_until(work.cancelled, "it ends")
        loop.stop()


def test_the_intake_command(redis_url: str, raw: redis.Redis, audio: Any, tmp_path: Path) -> None:
    process = start_process("tasks.cli", "intake", env=environment(STT_REDIS_URL=redis_url), log=tmp_path / "log")
    try:
        good, bad = add(raw, source=audio("1.wav")), add(raw, source="relative.wav")
        wait_until(lambda: {good, bad} <= set(replies(raw)), "both are answered", timeout_s=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(10)
    text = (tmp_path / "log").read_text()
    assert "entry refused" in text
    assert "Traceback" not in text


# -- hostile producers -----------------------------------------------------------------------------------------------


@pytest.fixture
def slow_server() -> Iterator[str]:
    """The address of a web server that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(200)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/slow.wav"


@pytest.fixture
def served(settings: Settings) -> Iterator[Callable[[Settings], None]]:
    """Returns a function that starts reading jobs from the intake stream in the background, as a worker does."""
    loop, running = LoopThread(), []

    def start(changed: Settings) -> None:
        running.append(start_intake(changed, loop))

    yield start
    for work in running:
        work.cancel()
        wait_until(work.cancelled, "the intake ends")
    loop.stop()


def test_a_slow_source_does_not_delay_other_entries(
    settings: Settings, raw: redis.Redis, audio: Any, slow_server: str, served: Callable[[Settings], None]
) -> None:
    """The stream that all producers share has entries with endless files and servers that never answer."""
    slow = [add(raw, source=f"{slow_server}?{number}") for number in range(40)]
    endless = [add(raw, source="/proc/self/pagemap") for _ in range(8)]
    served(settings.model_copy(update={"allowed_sources": "*", "intake_timeout_s": 60.0}))
    honest = [add(raw, source=audio(f"{number}.wav")) for number in range(20)]
    wait_until(lambda: {*endless, *honest} <= set(replies(raw)), "the others are answered", timeout_s=30)
    answers = replies(raw)
    assert all(answers[request].get("state") == "queued" for request in honest)
    assert all(answers[request]["refused"].startswith("source") for request in endless)
    assert not set(slow) & set(answers)


def test_a_source_that_takes_too_long_is_refused_with_a_remedy(
    settings: Settings, raw: redis.Redis, tmp_path: Path, served: Callable[[Settings], None]
) -> None:
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(40 << 30)  # a sparse file, which takes no disk space and minutes to hash
    served(settings.model_copy(update={"intake_timeout_s": 1.0}))
    request = add(raw, source=str(huge))
    wait_until(lambda: request in replies(raw), "it gets a reply", timeout_s=20)
    answer = replies(raw)[request]
    assert answer["refused"] == "source_unavailable"
    assert "STT_INTAKE_TIMEOUT_S" in answer["reason"]
    assert "key" in answer["reason"]


def test_sigterm_ends_the_intake_while_it_hashes_and_waits(
    redis_url: str, raw: redis.Redis, tmp_path: Path, slow_server: str, audio: Any
) -> None:
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(40 << 30)
    requests = [add(raw, source=str(huge)), add(raw, source=slow_server)]
    environ = environment(STT_REDIS_URL=redis_url, STT_ALLOWED_SOURCES="*")
    process = start_process("tasks.cli", "intake", env=environ, log=tmp_path / "log")
    try:
        wait_until(lambda: raw.exists("stt:intake") and pending(raw) == 2, "both are in work", timeout_s=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 0
    finally:
        process.kill()
        process.wait(10)
    assert not set(requests) & set(replies(raw))
    taken = raw.xautoclaim("stt:intake", GROUP, "another", min_idle_time=1_000_000)
    assert {entry for entry, _ in taken[1]} == set(requests), "another process can claim them at once"


def test_the_intake_waits_during_a_shortage_of_its_machine(
    settings: Settings,
    raw: redis.Redis,
    audio: Any,
    served: Callable[[Settings], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = iter([WorkerShortage("too many open files")] * 2)
    identify = SourceIdentifier.content_of

    async def short(self: SourceIdentifier, source: Address, lane: str = "") -> tuple[str, str | None]:
        if (failure := next(failures, None)) is not None:
            raise failure
        return await identify(self, source, lane)

    monkeypatch.setattr(SourceIdentifier, "content_of", short)
    monkeypatch.setattr("tasks.background.intake.REDIS_RETRY_S", 0.1)
    request = add(raw, source=audio("1.wav"))
    served(settings)
    wait_until(lambda: request in replies(raw), "it gets a reply")
    assert replies(raw)[request]["state"] == "queued"


def pending(raw: redis.Redis) -> int:
    try:
        return int(raw.xpending("stt:intake", GROUP)["pending"])
    except redis.ResponseError:  # the group does not exist yet
        return 0


async def test_a_producer_has_its_own_stream_and_only_the_rights_for_it(
    settings: Settings, redis_url: str, raw: redis.Redis, audio: Any
) -> None:
    """With the documented ACL, a producer may only use XADD, and only on its own stream."""
    changed = settings.model_copy(update={"redis_prefix": "team[1]:"})
    for name in ("shop", "crm"):
        raw.execute_command(
            *("ACL", "SETUSER", name, "on", ">a-long-password", "resetkeys", "resetchannels", "-@all"),
            *(f"~team[[]1]:intake:from:{name}", f"%R~team[[]1]:intake:replies:{name}", "+xadd", "+xread"),
        )
    port = redis_url.rsplit(":", 1)[1]
    producer, connection = Producer(changed), RedisConnection(changed.redis_url)
    try:
        with redis.Redis.from_url(f"redis://shop:a-long-password@127.0.0.1:{port}", decode_responses=True) as shop:
            request = shop.xadd("team[1]:intake:from:shop", {"job": json.dumps({"source": audio("1.wav")})})
            bad = shop.xadd("team[1]:intake:from:shop", {"job": "{"})
            for key in ("team[1]:intake:from:crm", "team[1]:intake"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    shop.xadd(key, {"job": "{}"})
            assert await Intake(changed, producer, connection).once() == 2
            (_, entries), *_ = shop.xread({"team[1]:intake:replies:shop": "0"})
            with pytest.raises(redis.exceptions.NoPermissionError):
                shop.xread({"team[1]:intake:replies:crm": "0"})
        own = {fields["request"]: fields for _, fields in entries}
        assert own[request]["state"] == "queued"
        assert own[bad]["refused"] == "bad_job"
        assert {fields["from"] for fields in own.values()} == {"shop"}
        assert len(raw.xrange("team[1]:intake:replies")) == 2
        assert all(raw.ttl(key) > 0 for key in raw.scan_iter("team*"))
    finally:
        raw.acl_deluser("shop", "crm")
        await producer.close()
        await connection.close()


async def test_a_stream_with_exhausted_ids_is_reported_and_others_continue(
    intake: Intake, raw: redis.Redis, audio: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    last = "18446744073709551615-18446744073709551615"
    for key in ("stt:intake:from:evil", "stt:intake"):
        raw.xadd(key, {"job": json.dumps({"source": audio("1.wav")})}, id=last)
        with pytest.raises(redis.ResponseError):
            raw.xadd(key, {"job": "{}"})
    good = raw.xadd("stt:intake:from:good", {"job": json.dumps({"source": audio("2.wav")})})
    assert await intake.once() == 3
    assert replies(raw)[str(good)]["state"] == "queued"
    text = capsys.readouterr().out
    assert "evil" in text
    assert last in text
    raw.delete("stt:intake:search")
    intake._streams._look_again = 0.0
    await intake.once()
    again = [raw.xadd(key, {"job": "{}"}) for key in ("stt:intake:from:evil", "stt:intake")]
    await intake.once()
    assert {*map(str, again)} <= set(replies(raw)), "both streams work again"


async def test_a_producer_can_trim_only_its_own_stream(intake: Intake, raw: redis.Redis, audio: Any) -> None:
    good = raw.xadd("stt:intake:from:good", {"job": json.dumps({"source": audio("2.wav")})})
    for _ in range(3):
        raw.xadd("stt:intake:from:evil", {"job": "{"}, maxlen=0, approximate=False)
    await intake.once()
    assert replies(raw)[str(good)]["state"] == "queued"


@pytest.mark.parametrize("state", ["queued", "running", "done", "failed", "incomplete", "cancelled"])
@pytest.mark.parametrize("victim", ["", "shop"])
async def test_a_producer_cannot_change_a_job_of_another_producer(
    intake: Intake, producer: Producer, raw: redis.Redis, audio: Any, victim: str, state: str
) -> None:
    """The producer tries the idempotency key of that job, the id of its content, and the same content."""

    async def hand_in(stream: str, **fields: str) -> dict[str, str]:
        request = str(raw.xadd(f"stt:intake:from:{stream}" if stream else "stt:intake", fields))
        raw.delete("stt:intake:search")
        intake._streams._look_again = 0.0
        await intake.once()
        return replies(raw)[request]

    source = audio("theirs.wav")
    theirs = json.dumps({"source": source, "out_dir": "/results", "webhook": "https://good.example/x"})
    keyed = await hand_in(victim, job=theirs, key="call-1")
    named = await hand_in(victim, job=theirs)
    for name in (keyed["job"], named["job"]):
        raw.hset(f"stt:job:{name}", "state", state)
    before = [raw.hgetall(f"stt:job:{name}") for name in (keyed["job"], named["job"])]
    hostile = json.dumps({"source": audio("x.wav"), "out_dir": "/theft", "webhook": "https://evil.example/x"})
    for key in (keyed["job"], named["job"]):
        for again in ("0", "1"):
            answer = await hand_in("thief", job=hostile, key=key, force=again)
            assert (answer["refused"], "queued by another producer" in answer["reason"]) == ("bad_job", True)
    same = json.dumps({"source": source, "out_dir": "/results", "webhook": "https://evil.example/x"})
    answer = await hand_in("thief", job=same)
    expected = (
        {"job": named["job"], "state": state} if state in ("queued", "running", "done") else {"refused": "bad_job"}
    )
    assert expected.items() <= answer.items()
    assert [raw.hgetall(f"stt:job:{name}") for name in (keyed["job"], named["job"])] == before
    mine = await hand_in(victim, job=theirs, key="call-1", force="1")
    assert mine["state"] in ("queued", "running")


async def test_producers_are_served_round_robin(intake: Intake, raw: redis.Redis, audio: Any) -> None:
    """Many entries of one producer do not delay the single entry of another."""
    for number in range(300):
        raw.xadd("stt:intake:from:flood", {"job": "{", "n": str(number)})
    single = raw.xadd("stt:intake:from:single", {"job": json.dumps({"source": audio("1.wav")})})
    shared = add(raw, source=audio("2.wav"))
    assert await intake.once() == MAX_PER_POLL + 2
    assert {str(single), shared} <= set(replies(raw))


async def test_a_key_of_another_type_does_not_stop_other_streams(intake: Intake, raw: redis.Redis, audio: Any) -> None:
    await intake.once()
    raw.xadd("stt:intake:from:a", {"job": "{"})
    raw.xadd("stt:intake:from:b", {"job": json.dumps({"source": audio("1.wav")})})
    await asyncio.sleep(0)
    raw.delete("stt:intake:search")
    intake._streams._look_again = 0.0
    await intake._streams.all()
    raw.set("stt:intake:from:a", "no stream")
    assert await intake.once() == 1
    assert len(replies(raw)) == 1
    raw.delete("stt:intake:from:a")
