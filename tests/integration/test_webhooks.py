"""Webhooks from the end of a job to a receiver in another process: signatures, retries, dead letters."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from standardwebhooks import Webhook, WebhookVerificationError

from tasks import submit_many
from tasks.cli import main
from tasks.client.producer import Producer
from tests.integration.test_waiting_jobs import a_worker, registry_of
from tests.support.certificates import certificate
from tests.support.fleet import Fleet, assert_every_key_ends
from tests.support.readme import pasted_verify
from tests.support.receiver import Receiver, receiver
from tests.support.wait import allowed_s, wait_until
from tests.unit.transcript.build import transcript
from worker.ledger.connection import RedisConnection
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import Settings, load
from worker.storage.address import parse
from worker.webhooks.delivery_schedule import WebhookDeliverer
from worker.webhooks.http_post import WebhookSender
from worker.webhooks.outbox import Outbox

WEBHOOK_BACKOFF_S = 0.05
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
COUNT = itertools.count()


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiver(tmp_path_factory.mktemp("receiver")) as one:
        yield one


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load(
        {},
        redis_url=redis_url,
        webhook_secret=SECRET,
        allowed_webhooks="*",
        webhook_backoff_s=WEBHOOK_BACKOFF_S,
        webhook_attempts=4,
        webhook_timeout_s=3,  # on a busy machine a receiver can take a second to answer; `hang` takes 5 s
    )


class Post:
    """The outbox of a ledger, with a deliverer."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None = None) -> None:
        self.connection = RedisConnection(settings.redis_url)
        self.outbox = Outbox(settings, self.connection)
        self.deliverer = WebhookDeliverer(settings, self.outbox, WebhookSender(settings, tls=tls))

    async def until_settled(self) -> None:
        """Deliver until no message waits."""
        async with asyncio.timeout(allowed_s(30)):
            while await self.outbox.waiting():
                if not await self.deliverer.once():
                    await asyncio.sleep(0.01)


@pytest.fixture
async def post(settings: Settings) -> AsyncIterator[Post]:
    post = Post(settings)
    yield post
    await post.connection.close()


async def held(ledger: Ledger, name: str, webhook: str | None, **spec: Any) -> Lease:
    await ledger.create(
        name, json.dumps({"source": "/audio/a.wav", "webhook": webhook, **spec}), batch=spec.get("batch")
    )
    lease = await ledger.acquire(name, "me")
    assert isinstance(lease, Lease)
    return lease


def verified(request: dict[str, Any], secret: str = SECRET) -> dict[str, Any]:
    """Return the body of a request, after the official library has verified its signature."""
    document: dict[str, Any] = Webhook(secret).verify(request["body"], request["headers"])
    return document


async def test_the_end_of_a_job_is_delivered_once_and_signed(
    ledger: Ledger, post: Post, receiving: Receiver, redis_url: str
) -> None:
    lease = await held(ledger, "j1", f"{receiving.url}/ok/j1", batch="b")
    assert await post.outbox.waiting() == 0
    await lease.finish(transcript(), ["/out/a.json"])
    await post.until_settled()
    assert await post.deliverer.once() == 0
    (request,) = receiving.requests("/ok/j1")
    document = verified(request)
    data = document["data"]
    assert (document["schema_version"], document["type"]) == (1, "job.done")
    assert (data["id"], data["state"], data["source"], data["batch"]) == ("j1", "done", "/audio/a.wav", "b")
    assert (data["outputs"], data["error"]) == (["/out/a.json"], None)
    ago = datetime.now(UTC) - datetime.fromisoformat(document["timestamp"])
    assert abs(ago.total_seconds()) < 60
    assert request["headers"]["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        verified({**request, "body": request["body"].replace("j1", "j2")})
    assert_every_key_ends(redis_url)


async def test_the_code_in_the_readme_verifies_a_webhook(ledger: Ledger, post: Post, receiving: Receiver) -> None:
    scope = pasted_verify()
    await (await held(ledger, "j", f"{receiving.url}/ok/readme")).fail("x", "y")
    await post.until_settled()
    (request,) = receiving.requests("/ok/readme")
    assert scope["verify"](SECRET, request["headers"], request["body"].encode())
    assert not scope["verify"](SECRET, request["headers"], b"{}")
    assert not scope["verify"](SECRET[:-4] + "AAAA", request["headers"], request["body"].encode())


async def test_every_kind_of_end_is_delivered_and_only_for_jobs_with_a_webhook(
    ledger: Ledger, post: Post, receiving: Receiver, settings: Settings
) -> None:
    url = f"{receiving.url}/ok/ends"
    await (await held(ledger, "failed", url)).fail("source_damaged", "broken: 電話")
    await held(ledger, "cancelled", url)
    await ledger.cancel("cancelled")
    await held(ledger, "silent", None)
    await ledger.cancel("silent")
    lost = load({}, redis_url=settings.redis_url, lease_s=1, lease_renew_s=0.5, reap_interval_s=1)
    dying = Ledger(lost)
    await held(dying, "given-up", url)
    await asyncio.to_thread(_until_reaped, settings, "given-up")
    await dying.close()
    await post.until_settled()
    documents = {(d := verified(r))["data"]["id"]: d for r in receiving.requests("/ok/ends")}
    assert {name: d["type"] for name, d in documents.items()} == {
        "failed": "job.failed",
        "cancelled": "job.cancelled",
        "given-up": "job.failed",
    }
    assert documents["failed"]["data"]["error"] == "broken: 電話"
    assert documents["given-up"]["data"]["error_code"] == "attempts"


def _until_reaped(settings: Settings, name: str) -> None:
    async def reap() -> bool:
        ledger = Ledger(settings)
        try:
            return name in (await ledger.reap("stt", tries=1, delay_s=0.1)).given_up
        finally:
            await ledger.close()

    wait_until(lambda: asyncio.run(reap()), "its lease has lapsed", timeout_s=10, poll_s=0.1)


async def test_a_repeated_job_sends_a_webhook_with_a_new_id(ledger: Ledger, post: Post, receiving: Receiver) -> None:
    url = f"{receiving.url}/ok/again"
    await (await held(ledger, "again", url)).fail("x", "y")
    await ledger.retry("again")
    lease = await ledger.acquire("again", "me")
    assert isinstance(lease, Lease)
    await lease.finish(transcript(), [])
    await lease.finish(transcript(), [])  # a repeated call
    await post.until_settled()
    requests = receiving.requests("/ok/again")
    assert sorted(verified(r)["type"] for r in requests) == ["job.done", "job.failed"]
    assert len({r["headers"]["webhook-id"] for r in requests}) == 2


@pytest.mark.parametrize(("path", "times"), [("/fail/2", 3), ("/hang/1", 2), ("/cut/2", 3)])
async def test_a_failed_delivery_is_repeated_until_it_succeeds(
    ledger: Ledger, post: Post, receiving: Receiver, path: str, times: int
) -> None:
    await (await held(ledger, "j", f"{receiving.url}{path}/repeat")).fail("x", "y")
    await post.until_settled()
    requests = receiving.requests(f"{path}/repeat")
    assert len(requests) == times
    assert len({r["headers"]["webhook-id"] for r in requests}) == 1
    assert len({r["body"] for r in requests}) == 1
    assert all(verified(r)["data"]["id"] == "j" for r in requests)
    pauses = [after["at"] - before["at"] for before, after in itertools.pairwise(requests)]
    # At least 80 % of the planned pause, four times as long after each attempt. A busy machine only makes it longer.
    planned = [WEBHOOK_BACKOFF_S * 4**attempt for attempt in range(len(pauses))]
    assert all(pause >= 0.8 * least for pause, least in zip(pauses, planned, strict=True)), pauses
    assert not await post.outbox.list_messages(dead=True)


async def test_retry_after_delays_the_next_attempt(ledger: Ledger, post: Post, receiving: Receiver) -> None:
    await (await held(ledger, "j", f"{receiving.url}/later/1/x")).fail("x", "y")
    await post.until_settled()
    first, second = receiving.requests("/later/1/x")
    assert second["at"] - first["at"] >= 0.99


@pytest.mark.parametrize(
    ("path", "attempts", "reason"),
    [
        ("/fail/99/dead", 4, "HTTP 500"),
        ("/gone", 1, "HTTP 410"),
        ("/login", 4, "HTTP 407: the receiver answered"),
        ("/move", 4, "HTTP 302: the address redirects"),
    ],
)
async def test_an_undeliverable_webhook_becomes_a_dead_letter_and_can_be_sent_again(
    ledger: Ledger, post: Post, receiving: Receiver, redis_url: str, path: str, attempts: int, reason: str
) -> None:
    before = len(receiving.requests("/ok"))
    await (await held(ledger, "j", f"{receiving.url}{path}?token=secret")).fail("x", "y")
    await post.until_settled()
    assert len(receiving.requests(f"{path}?token=secret")) == attempts
    (dead,) = await post.outbox.list_messages(dead=True)
    assert (dead.attempts, dead.subject) == (attempts, "j")
    assert dead.reason.startswith(reason)
    assert len(receiving.requests("/ok")) == before, "a redirect is not followed"

    environ = {"STT_REDIS_URL": redis_url}
    listed = await asyncio.to_thread(CliRunner().invoke, main, ["webhooks"], env=environ)
    assert listed.exit_code == 0
    assert "0 wait, 1 dead letter\n" in listed.output
    assert reason in listed.output
    assert "secret" not in listed.output
    again = await asyncio.to_thread(CliRunner().invoke, main, ["webhooks", "retry", dead.id], env=environ)
    assert again.output == "1 webhook queued again\n"
    unknown = await asyncio.to_thread(CliRunner().invoke, main, ["webhooks", "retry", dead.id], env=environ)
    assert unknown.exit_code == 1
    await post.deliverer.once()
    assert len(receiving.requests(f"{path}?token=secret")) == attempts + 1
    everything = await asyncio.to_thread(
        CliRunner().invoke, main, ["webhooks", "retry", "--all", "--json"], env=environ
    )
    assert json.loads(everything.output)["queued"] == ([dead.id] if path == "/gone" else [])
    assert_every_key_ends(redis_url)


async def test_an_endless_response_is_not_read(ledger: Ledger, post: Post, receiving: Receiver) -> None:
    await (await held(ledger, "j", f"{receiving.url}/flood")).fail("x", "y")
    await post.until_settled()
    assert len(receiving.requests("/flood")) == 1
    assert not await post.outbox.list_messages(dead=True)


async def test_an_untrusted_certificate_fails_the_delivery(
    ledger: Ledger, post: Post, settings: Settings, tmp_path: Path
) -> None:
    pem = certificate(tmp_path)
    with receiver(tmp_path, pem) as secure:
        await (await held(ledger, "j", f"{secure.url}/ok")).fail("x", "y")
        await post.until_settled()
        (dead,) = await post.outbox.list_messages(dead=True)
        assert dead.attempts == 4
        assert dead.reason.startswith("its certificate is not trusted: ")
        assert secure.requests() == [], "an untrusted receiver gets no request"

        trusting = Post(settings, ssl.create_default_context(cafile=pem))
        await trusting.outbox.requeue([dead.id])
        await trusting.until_settled()
        assert verified(secure.requests()[0])["data"]["id"] == "j"
        await trusting.connection.close()


async def test_private_addresses_get_webhooks_only_if_the_settings_name_them(
    ledger: Ledger, redis_url: str, receiving: Receiver
) -> None:
    for allowed, names in {"": 0, "https://*.example.com": 0, receiving.url: 1}.items():
        settings = load({}, redis_url=redis_url, webhook_secret=SECRET, allowed_webhooks=allowed)
        post = Post(settings)
        await (await held(ledger, f"j{len(allowed)}", f"{receiving.url}/ok/private")).fail("x", "y")
        await post.until_settled()
        assert len(receiving.requests("/ok/private")) == names
        await post.connection.close()


async def test_another_worker_delivers_after_a_worker_died(
    ledger: Ledger, settings: Settings, receiving: Receiver, raw: redis.Redis
) -> None:
    one, other = Post(settings), Post(settings)
    for number in range(40):
        await (await held(ledger, f"j{number}", f"{receiving.url}/ok/many")).fail("x", "y")
    await asyncio.gather(one.until_settled(), other.until_settled())
    assert len(receiving.requests("/ok/many")) == 40

    await (await held(ledger, "last", f"{receiving.url}/ok/last")).fail("x", "y")
    (taken,) = (await one.outbox.claim(1)).messages  # and the worker dies
    assert (await other.outbox.claim(1)).messages == []
    raw.zadd("stt:webhooks", {taken.id: 0})  # its claim lapses
    await other.until_settled()
    assert len(receiving.requests("/ok/last")) == 1
    assert not await one.outbox.mark_delivered(taken), "another worker has claimed it"
    for post in (one, other):
        await post.connection.close()


DAMAGED: dict[str, dict[str, str | bytes] | None] = {
    "a number is infinite": {"job_duration_s": "9" * 5000},
    "a number is a text": {"job_commits": "x"},
    "a number is too long": {"job_attempts": "9" * 5000},
    "a time is none": {"job_ended": "9" * 30},
    "a list is deep": {"job_outputs": "[" * 100_000},
    "an object is cut off": {"job_quality": "{"},
    "outputs hold numbers": {"job_outputs": "[1]"},
    "kind is unknown": {"kind": "batch"},
    "attempts is a text": {"attempts": "x"},
    "not UTF-8": {"job_error": b"\xff\xfe", "job_ended": b"\xff"},
    "another type": None,
}  # fmt: skip


@pytest.mark.parametrize("fields", DAMAGED.values(), ids=list(DAMAGED))
async def test_a_damaged_message_becomes_a_dead_letter_and_delays_no_other(
    ledger: Ledger, post: Post, receiving: Receiver, raw: redis.Redis, fields: dict[str, str | bytes] | None
) -> None:
    """Another program wrote to the keys of the outbox."""
    name = f"d{next(COUNT)}"
    await (await held(ledger, f"{name}-bad", f"{receiving.url}/ok/{name}-bad")).finish(transcript(), [])
    (message,) = raw.zrange("stt:webhooks", 0, -1)
    key = f"stt:webhook:{message}"
    if fields is None:
        raw.set(key, "x", px=60_000)
    else:
        raw.hset(key, mapping=fields)
    await (await held(ledger, f"{name}-good", f"{receiving.url}/ok/{name}-good")).finish(transcript(), [])
    await post.outbox.watch_batch(f"{name}-batch", parse(f"{receiving.url}/ok/batch"))
    raw.delete(f"stt:batch:{name}-batch:webhook")
    raw.set(f"stt:batch:{name}-batch:webhook", "another type", px=60_000)
    await post.until_settled()
    assert len(receiving.requests(f"/ok/{name}-good")) == 1
    assert len(await post.outbox.list_messages(dead=True)) <= 1
    if fields is not None and "attempts" not in fields:
        (dead,) = await post.outbox.list_messages(dead=True)
        assert dead.reason.startswith("the message in Redis cannot be read")


async def test_without_a_secret_nothing_is_sent(ledger: Ledger, redis_url: str, receiving: Receiver) -> None:
    post = Post(load({}, redis_url=redis_url, allowed_webhooks="*"))
    await (await held(ledger, "j", f"{receiving.url}/ok/unsigned")).fail("x", "y")
    assert await post.deliverer.once() == 0
    assert await post.outbox.waiting() == 1
    assert receiving.requests("/ok/unsigned") == []
    await post.connection.close()


async def test_the_end_of_a_batch_is_delivered_once(
    ledger: Ledger, producer: Producer, post: Post, receiving: Receiver, redis_url: str
) -> None:
    url = f"{receiving.url}/ok/batch"
    leases = [await held(ledger, f"j{number}", None, batch="b") for number in range(30)]
    await post.outbox.watch_batch("b", parse(url))
    for lease in leases[:-1]:
        await lease.finish(transcript(), [])
        assert await post.deliverer.once() == 0
    await leases[-1].fail("x", "y")
    await post.deliverer.once()
    await post.deliverer.once()
    (request,) = receiving.requests("/ok/batch")
    document = verified(request)
    assert document["type"] == "batch.ended"
    assert document["data"] == {"id": "b", "total": 30, "counts": {"done": 29, "failed": 1}}
    assert_every_key_ends(redis_url)


def test_submit_many_requests_the_webhook_of_its_batch(fleet: Fleet, receiving: Receiver) -> None:
    fleet.start(STT_WEBHOOK_SECRET=SECRET, STT_ALLOWED_WEBHOOKS=receiving.url)
    paths = [fleet.audio(f"one-{number}", 3.0, seed=number)[0] for number in range(3)]
    settings = fleet.settings.model_copy(update={"allowed_webhooks": receiving.url})
    url = f"{receiving.url}/ok/submitted"
    submit_many(paths, batch="monday", batch_webhook=url, webhook=f"{url}/each", settings=settings)
    wait_until(lambda: receiving.requests("/ok/submitted"), "the batch has ended", timeout_s=40)
    wait_until(lambda: len(receiving.requests("/ok/submitted/each")) == 3, "each job sends a webhook", timeout_s=10)
    assert verified(receiving.requests("/ok/submitted")[0])["data"]["counts"] == {"done": 3}


async def test_the_command_line_requests_webhooks_of_jobs_and_batches(
    ledger: Ledger, post: Post, receiving: Receiver, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    url = f"{receiving.url}/ok/submitted-by-hand"
    command = ["submit", str(tmp_path / "a.wav"), "--batch", "b", "--webhook", f"{url}/each", "--batch-webhook", url]
    environ = {"STT_REDIS_URL": redis_url, "STT_ALLOWED_WEBHOOKS": receiving.url}
    submitted = await asyncio.to_thread(CliRunner().invoke, main, [*command, "--json"], env=environ)
    assert submitted.exit_code == 0, submitted.output
    (job,) = json.loads(submitted.output)["jobs"]
    await ledger.cancel(job["id"])
    await post.deliverer.once()
    await post.until_settled()
    assert verified(receiving.requests(f"{url.removeprefix(receiving.url)}/each")[0])["type"] == "job.cancelled"
    assert verified(receiving.requests(url.removeprefix(receiving.url))[0])["data"]["counts"] == {"cancelled": 1}
    settings = load({}, redis_url=redis_url)
    worker = a_worker(settings, signs_webhooks=True)  # its STT_ALLOWED_WEBHOOKS is empty
    connection = RedisConnection(redis_url)
    await registry_of(settings, connection).beat(worker, {})
    await connection.close()
    refused = await asyncio.to_thread(CliRunner().invoke, main, command, env=environ)
    assert refused.exit_code == 2
    assert "STT_ALLOWED_WEBHOOKS" in refused.output


def test_a_worker_delivers_webhooks(fleet: Fleet, receiving: Receiver, raw: redis.Redis) -> None:
    worker = fleet.start(STT_WEBHOOK_SECRET=SECRET, STT_ALLOWED_WEBHOOKS=receiving.url)
    (registered,) = wait_until(lambda: raw.zrange("stt:workers", 0, -1), "the worker is registered", timeout_s=30)
    known = raw.hgetall(f"stt:worker:{registered}")
    assert (known["signs_webhooks"], known["allowed_webhooks"], known["max_sessions"]) == ("1", receiving.url, "4")
    path, _ = fleet.audio("told")
    job = {"source": str(path), "webhook": f"{receiving.url}/fail/1/worker"}
    raw.xadd("stt:intake", {"job": json.dumps(job)})
    wait_until(lambda: len(receiving.requests("/fail/1/worker")) == 1, "the first attempt", timeout_s=30)
    request = receiving.requests("/fail/1/worker")[0]
    assert verified(request)["data"]["state"] == "done"
    refused = raw.xadd("stt:intake", {"job": json.dumps({**job, "webhook": "http://169.254.169.254/latest"})})
    wait_until(lambda: raw.xlen("stt:intake:refused") == 1, "the other one is refused", timeout_s=10)
    ((_, entry),) = raw.xrange("stt:intake:refused")
    assert entry["request"] == refused
    assert "STT_ALLOWED_WEBHOOKS" in entry["reason"]
    assert SECRET.removeprefix("whsec_") not in worker.text()
    worker.end()
    assert raw.exists(f"stt:worker:{registered}") == 0
