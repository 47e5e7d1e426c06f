"""Runs the HTTP API on the event loop of a test, with keys of every role, and plays the worker of a job."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from tasks.api.app import create_app
from tasks.api.context import ApiContext
from tasks.api.serve import server_config
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import async_wait_until
from worker.job_progress import Progress
from worker.ledger.lease import Lease
from worker.settings import Settings, load
from worker.transcript.model import Transcript

KEYS = {"reader": "read-key", "alice": "alice-key", "bob": "bob-key", "boss": "boss-key"}
ROLES = {"reader": "read", "alice": "submit", "bob": "submit", "boss": "operate"}
HTTP_KEYS = ",".join(f"{name}:{ROLES[name]}:{key}" for name, key in KEYS.items())


@dataclass
class Api:
    """A running API. `alice`, `bob`, `reader`, `boss`: clients with the key of that name; `anyone`: without a key."""

    url: str
    context: ApiContext
    alice: httpx2.AsyncClient
    bob: httpx2.AsyncClient
    reader: httpx2.AsyncClient
    boss: httpx2.AsyncClient
    anyone: httpx2.AsyncClient

    async def upload(self, content: bytes = b"audio", name: str = "call.wav", **fields: str) -> dict[str, Any]:
        """Upload one file as alice. Returns the accepted job."""
        answer = await self.alice.post("/v1/jobs", files={"file": (name, content)}, data=fields)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def lease(self, job_id: str) -> Lease:
        lease = await self.context.ledger.acquire(job_id, "worker-1")
        assert isinstance(lease, Lease), lease
        await self.context.producer.events.publish("started", job_id, attempt=1)
        return lease

    async def commit(self, lease: Lease, number: int) -> None:
        """Commit one segment as a worker does: first in the ledger, then as an event."""
        await lease.commit(a_segment(f"word {number}", number, number + 1))
        await self.context.producer.events.publish("committed", lease.job_id, start=number)

    async def transcribe(self, job_id: str, words: int = 3, transcript: Transcript | None = None) -> None:
        """Run the job as a worker that hears some words."""
        lease = await self.lease(job_id)
        for number in range(words):
            await self.commit(lease, number)
        segments = tuple(a_segment(f"word {n}", n, n + 1) for n in range(words))
        await lease.finish(transcript or a_transcript(job_id, segments), [])
        await self.context.producer.events.publish("done", job_id)

    async def fail(self, job_id: str, code: str, reason: str) -> None:
        lease = await self.lease(job_id)
        await lease.fail(code, reason)
        await self.context.producer.events.publish("failed", job_id)

    async def begun(self, count: int = 1) -> list[str]:
        """Wait until `count` jobs are queued. Returns the ids of all queued jobs."""
        ids: list[str] = []

        async def queued() -> bool:
            ids[:] = await self.context.ledger.recent_jobs(limit=None)
            return len(ids) >= count

        for _ in range(600):
            if await queued():
                return ids
            await asyncio.sleep(0.02)
        raise AssertionError(f"{len(ids)} of {count} jobs are queued")


def api_settings(redis_url: str, folder: Path, **more: Any) -> Settings:
    given = {"http_keys": HTTP_KEYS, "uploads": str(folder / "uploads"), "http_port": 0, **more}
    return load({}, redis_url=redis_url, **given)


@asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[Api]:
    """Run the application with uvicorn on a free port."""
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(server_config(app, 1))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await async_wait_until(lambda: server.started or running.done(), "the API listens")
        if running.done():
            await running
        context: ApiContext = app.state.context
        clients = {name: _client(url, headers={"Authorization": f"Bearer {key}"}) for name, key in KEYS.items()}
        api = Api(url, context, anyone=_client(url), **clients)
        yield api
        for client in (api.anyone, *clients.values()):
            await client.aclose()
        context.begin_stop()
    finally:
        server.should_exit = True
        await running
        listener.close()


def _client(url: str, **options: Any) -> httpx2.AsyncClient:
    # `verify`: each client would load the certificate authorities of the system, which takes 40 ms, and use none.
    return httpx2.AsyncClient(base_url=url, timeout=30, verify=False, **options)


def problem(answer: httpx2.Response, status: int, code: str = "") -> dict[str, Any]:
    """Check that a response is a problem document with this status and code. Returns the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"] == f"urn:stt-batch:problem:{document['code']}"
    assert not code or document["code"] == code
    return document


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream."""

    name: str
    id: str
    data: Any


async def events_of(answer: httpx2.Response) -> AsyncIterator[ServerEvent]:
    """Parse the events of a response as a browser does."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            if "data" in fields:
                yield ServerEvent(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


async def collect(client: httpx2.AsyncClient, path: str, **headers: str) -> list[ServerEvent]:
    """Follow a stream to its end. Returns its events."""
    async with client.stream("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}) as answer:
        assert answer.status_code == 200, await answer.aread()
        return [event async for event in events_of(answer)]


def progress(seconds: float) -> Progress:
    return Progress(10.0, seconds, seconds, "")


def words_of(events: Sequence[ServerEvent]) -> list[str]:
    return [event.data["text"] for event in events if event.name == "commit"]
