"""The library of the console: the texts of finished jobs, for those who may see them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.console.library import read_head
from tests.support.console_server import console_server, log_in, send
from tests.support.samples_of import a_segment, a_transcript
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import load
from worker.transcript.model import Revision, SegmentChange, Transcript

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture
def url(redis_url: str, tmp_path: Path) -> Iterator[str]:
    async def fill() -> None:
        ledger = Ledger(load({}, redis_url=redis_url))
        change = Revision(id="revision-1", created_at="", changes=(SegmentChange(segment=0, text="Corrected text."),))
        for name, text, revisions, producer in (
            ("plain", f"Heavy rain {EVIL}", (), "http:alice"),
            ("fixed", "Wrong text.", (change,), "http:alice"),
            ("long", "word " * 20_000, (), "http:bob"),
        ):
            await ledger.create_many([(name, json.dumps({"source": f"/in/{name}.wav"}))], batch="b", producer=producer)
            lease = await ledger.acquire(name, "w")
            assert isinstance(lease, Lease)
            said = a_transcript(name, (a_segment(text, 0, 1),)).model_copy(
                update={"revisions": revisions, "text": text}
            )
            await lease.finish(said, ["/out/x.json"])
        await ledger.create_many([("waiting", json.dumps({"source": "/in/w.wav"}))], batch="b", producer="http:alice")
        await ledger.close()

    asyncio.run(fill())
    with console_server(redis_url, uploads=str(tmp_path / "uploads")) as found:
        yield found


def items(body: bytes) -> dict[str, list[Any]]:
    """Return the entries of the library by source, with their texts at the end."""
    page = body.decode()
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    blocks = re.findall(r'<script type="application/json" class="texts">(.*?)</script>', page)
    texts = [text for block in blocks for text in json.loads(block)]
    return {one[0]: [*one, text] for one, text in zip(json.loads(data), texts, strict=True)}


def test_the_library_has_the_current_texts_and_links_to_the_pages(url: str) -> None:
    answer = log_in(url, "boss").send("GET", "/console/library")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'sha256-" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    found = items(answer.body)
    assert found["/in/plain.wav"][-1] == f"Heavy rain {EVIL}"
    assert found["/in/fixed.wav"][-1] == "Corrected text."
    assert 60_000 < len(found["/in/long.wav"][-1]) < 70_000
    assert found["/in/w.wav"][-1] == ""
    body = answer.body.decode()
    assert '<a href="jobs/plain/page">' in body
    assert 'href="jobs/waiting/page"' not in body
    assert "/out/x.json" not in body
    assert "only the beginning of 1 of 3 transcripts" in body
    assert log_in(url, "boss").send("GET", "/console/jobs/plain/page").status == 200


def test_a_key_sees_its_own_transcripts_only(url: str) -> None:
    assert send(url, "GET", "/console/library").status == 401
    found = items(log_in(url, "alice").send("GET", "/console/library").body)
    assert set(found) == {"/in/plain.wav", "/in/fixed.wav", "/in/w.wav"}
    assert set(items(log_in(url, "reader").send("GET", "/console/library?batch=none").body)) == set()


@pytest.mark.parametrize("length", range(60, 110))
def test_the_text_of_a_head_that_is_cut_off_anywhere_is_read(length: int) -> None:
    document = a_transcript("job", ()).model_copy(update={"text": '雨 "rain" \\ \n😀\u0001' * 20}).model_dump_json()
    head = document.encode()[:length].decode("utf-8", "backslashreplace")
    one = read_head(head)
    if one is not None:
        text = Transcript.model_validate_json(document).text
        assert one.cut
        assert text.startswith(one.text.rstrip("\\"))
    assert one is not None or '"text":"' not in head
