"""The library (`summary.html`): the texts of all transcripts, read cheaply, shown without a path of the machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tasks.batches import transcript_texts
from tasks.batches.summary import JobLine, summarize
from tasks.batches.summary_files import write_summary
from tasks.batches.summary_page import page
from tasks.batches.transcript_texts import TranscriptText, read_text, read_texts
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.ledger.records import JobState
from worker.transcript.model import Quality, ReviewReason, Revision, SegmentChange, Transcript

SAID = transcript(segment("Heavy rane.", 0.5, 2.5), segment("我哋聽日見", 3.0, 4.0))


def corrected(said: Transcript = SAID) -> Transcript:
    change = SegmentChange(segment=0, text="Heavy rain.", reviewed=True)
    return said.model_copy(update={"revisions": (Revision(id="revision-1", created_at="", changes=(change,)),)})


def job(name: str, *outputs: str, state: str = "done", **others: object) -> JobLine:
    return JobLine.model_validate({"id": name, "source": name, "state": state, "outputs": outputs, **others})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_text(render(SAID, "json"))
    (tmp_path / "b.json").write_text(render(corrected(), "json"))
    (tmp_path / "compact.json").write_text(SAID.model_dump_json())
    older = json.loads(render(SAID, "json"))
    del older["revisions"], older["waveform"]
    (tmp_path / "older.json").write_text(json.dumps(older, indent=2))
    return tmp_path


@pytest.mark.parametrize("name", ["a", "compact", "older"])
def test_the_text_and_the_language_of_a_transcript_are_read(folder: Path, name: str) -> None:
    assert read_text(folder / f"{name}.json") == TranscriptText(SAID.text, "en")


def test_the_text_of_a_corrected_transcript_is_the_corrected_one(folder: Path) -> None:
    assert read_text(folder / "b.json") == TranscriptText("Heavy rain.\n我哋聽日見", "en", corrected=True, reviewed=0.5)


def test_only_the_start_of_a_transcript_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_texts, "read_transcript", lambda path: pytest.fail(f"{path} was read whole"))
    assert read_text(folder / "a.json") is not None
    assert read_text(folder / "older.json") is not None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"text": 1,\n  "segments": []}', b'\xff\n  "segments": []', b"null"]
)
def test_other_files_have_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert read_text(tmp_path / "x.json") is None
    assert read_text(tmp_path / "gone.json") is None


def test_the_size_of_the_page_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_texts, "MAX_TOTAL", 20)
    monkeypatch.setattr(transcript_texts, "MIN_TEXT", 5)
    jobs = [job("a.wav", "a.json"), job("b.wav", "gone.json"), job("c.wav", "s3://b/a.json"), job("d.wav", "a.json")]
    summary = summarize("monday", jobs, now=0.0)
    texts = read_texts(summary, folder)
    assert [one and (len(one.text), one.cut) for one in texts] == [(17, False), None, None, (5, True)]
    assert "only the beginning of 1 of 2 transcripts" in page(summary, folder, texts)


def test_the_library_has_text_reasons_failures_and_links_but_no_absolute_path(folder: Path) -> None:
    reason = ReviewReason(code="low_confidence", text="mean confidence 0.5")
    quality = Quality(confidence=0.5, needs_review=True, reasons=(reason,))
    jobs = [
        job(f"{folder}/in/a.wav", f"{folder}/a.json", f"{folder}/a b.html", quality=quality, duration_s=60),
        job(
            f"{folder}/in/bad.wav",
            state="failed",
            error=f"{folder}/in/bad.wav: the file is empty",
            error_code="source_damaged",
        ),
    ]
    _, path = write_summary(summarize("monday", jobs, now=0.0), folder)
    text = path.read_text("utf-8")
    assert str(folder) not in text
    assert '<a href="a%20b.html">a.wav</a>' in text
    assert '<p class="first" dir="auto" lang="en">Heavy rane. 我哋聽日見</p>' in text
    assert "needs review: mean confidence 0.5" in text
    assert "<details open>" in text
    assert ">the file is empty; fetch or export the file again</li>" in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert json.loads(data)[0] == ["a.wav", "done", 60.0, 0.5, "en", 1]
    (texts,) = re.findall(r'<script type="application/json" class="texts">(.*?)</script>', text)
    assert json.loads(texts) == [SAID.text, ""]
    assert JobState.DONE in summarize("x", jobs, now=0.0).counts


def test_two_jobs_of_one_source_have_their_own_texts(folder: Path) -> None:
    summary = summarize("monday", [job("a.wav", "a.json"), job("a.wav", "b.json")], now=0.0)
    texts = read_texts(summary, folder)
    assert [one.text.split("\n")[0] for one in texts if one] == ["Heavy rane.", "Heavy rain."]


def test_text_in_the_library_is_never_markup(folder: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e"
    said = TranscriptText(evil, evil)
    text = page(summarize(evil, [job(evil, evil)], now=0.0), folder, [said])
    assert text.count("</script>") == 3
    assert "<img" not in text
    assert "onerror=alert(1)>" not in text
