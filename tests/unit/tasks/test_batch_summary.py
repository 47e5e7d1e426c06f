"""The summary of a batch: counts, speed, remaining time, failures by reason, and the summary files."""

from __future__ import annotations

import json
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tasks.batches.estimate import BatchLimits, SourceProbe, estimate_batch
from tasks.batches.summary import BatchSummary, JobLine, grouped, reason_of, summarize, without_source
from tasks.batches.summary_files import is_summary, write_summary
from tasks.batches.summary_page import page
from tasks.job_spec import JobState
from worker.errors import OutputError


def job(source: str, state: str = "done", length_s: float = 60.0, **fields: object) -> JobLine:
    done_s = length_s if state == "done" else 0.0
    return JobLine.model_validate(
        {"id": source, "source": source, "state": state, "duration_s": length_s, "done_s": done_s, **fields}
    )


def failed(source: str, error: str, code: str = "source_damaged") -> JobLine:
    return job(source, "failed", 0.0, error_code=code, error=error)


def test_speed_and_time_left_of_one_that_runs() -> None:
    jobs = [
        job("a", took_s=30.0, started_at=1000.0, ended_at=1030.0),
        job("b", "running", 120.0, started_at=1010.0).model_copy(update={"done_s": 60.0}),
        job("c", "queued", 0.0),
        job("d", skipped=True, started_at=1.0, ended_at=2.0),
    ]
    summary = summarize("monday", jobs, now=1040.0, expired=1)
    assert (summary.state, summary.total, summary.expired, summary.skipped) == ("running", 5, 1, 1)
    assert summary.counts == {JobState.DONE: 2, JobState.RUNNING: 1, JobState.QUEUED: 1}
    assert (summary.elapsed_s, summary.done_s, summary.speed) == (40.0, 120.0, 3.0)
    assert summary.left_s == pytest.approx((60 + 90) / 3)  # c is taken to be as long as the others are


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["done", "done"], "done"),
        (["done", "incomplete"], "failed"),
        (["done", "cancelled"], "failed"),
        (["failed", "queued"], "queued"),
        (["queued", "running"], "running"),
    ],
)
def test_the_state_of_a_batch(states: list[str], state: str) -> None:
    summary = summarize("x", [job(str(n), one) for n, one in enumerate(states)], now=1.0)
    assert (summary.state, summary.left_s) == (state, None)


def test_a_batch_is_paused_when_all_its_waiting_jobs_are() -> None:
    assert summarize("x", [job("a", "queued", paused=True), job("b")], now=1.0).state == "paused"
    assert summarize("x", [job("a", "queued", paused=True), job("b", "queued")], now=1.0).state == "queued"


def test_failures_are_grouped_by_their_common_reason() -> None:
    hint = 'convert it first, for example: ffmpeg -i "{0}" "{0}.flac"'
    jobs = [
        failed("/in/a.wav", "/in/a.wav: the file is empty (0 bytes)"),
        failed("/in/b.wav", "/in/b.wav: the file is empty (0 bytes)"),
        failed("/in/c.doc", f"/in/c.doc: libsndfile cannot read this; {hint.format('c.doc')}", "source_unsupported"),
        failed("/in/d.doc", f"/in/d.doc: libsndfile cannot read this; {hint.format('d.doc')}", "source_unsupported"),
        failed("/in/e.doc", f"/in/e.doc: libsndfile cannot read this; {hint.format('e.doc')}", "source_unsupported"),
        failed("s3://b/f.wav", "1.5–2.0 s missing: never committed", "incomplete"),
        failed("s3://b/g.wav", "3.25–17.0 s missing: never committed", "incomplete"),
    ]
    groups = summarize("x", jobs, now=1.0).failures
    assert [(group.count, group.code) for group in groups] == [
        (3, "source_unsupported"),
        (2, "incomplete"),
        (2, "source_damaged"),
    ]
    assert [group.reason for group in groups] == [
        "libsndfile cannot read this",
        "1.5–17.0 s missing: never committed",
        "the file is empty (0 bytes)",
    ]
    assert groups[2].sources == ("/in/a.wav", "/in/b.wav")
    assert reason_of("", "x") == "no reason given"


def test_a_reason_has_the_numbers_of_its_errors_or_their_range() -> None:
    jobs = [failed(f"/in/{name}", f"/in/{name}: cut off at {at} s") for name, at in (("a.wav", 3), ("b.wav", 3))]
    assert [group.reason for group in grouped(jobs)] == ["cut off at 3 s"]
    assert [group.reason for group in grouped([*jobs, failed("/c", "/c: cut off at 4 s")])] == ["cut off at 3–4 s"]
    other = (failed("/d", "/d: try 10 of 12 at 07:45"), failed("/e", "/e: try 9 of 12 at 11:03"))
    assert [group.reason for group in grouped(other)] == ["try 9–10 of 12 at …"]
    assert reason_of("a: cannot be read", "/in/a") == "…: cannot be read"


def test_an_error_about_an_unprintable_name_does_not_repeat_it() -> None:
    error = "/in/new\\u000aline.wav: the name must not contain control characters (U+000A); rename it"
    assert without_source(error, "/in/new\nline.wav").startswith("the name must")
    assert grouped([failed("/in/new\nline.wav", error)])[0].reason.startswith("the name must")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def a_summary() -> BatchSummary:
    return summarize(
        "<calls> & 通話",
        [
            job("/in/slow 1.wav", took_s=60.0, outputs=["/out/x/slow 1.json", "s3://b/slow.json"]),
            job("/in/quick.wav", took_s=6.0, outputs=["/out/quick.json"]),
            failed("/in/<b>.wav", "/in/<b>.wav: the file is <empty>"),
        ],
        now=1.0,
        elapsed_s=66.0,
    )


def test_the_page_shows_all_facts_and_loads_no_resources() -> None:
    reader = _Reader()
    text = page(a_summary(), Path("/out"))
    reader.feed(text)
    said = " ".join(reader.text)
    for part in ("<calls> & 通話", "/in/<b>.wav", "the file is <empty>", "slow 1.wav", "1.8x", "Slowest"):
        assert part in said
    assert sorted(set(reader.links)) == ["quick.json", "x/slow%201.json"]
    assert not reader.tags & {"link", "img", "iframe", "b><"}
    assert said.index("slow 1.wav") < said.index("quick.wav")


def test_no_text_of_a_summary_is_markup() -> None:
    """Codes of errors come from the ledger, where another program may have written."""
    hostile = '"><script>x</script>\u202e'
    bad = [job(f"/in/{n}{hostile}", "failed", error=hostile, error_code=hostile, warnings=(hostile,)) for n in range(2)]
    reader = _Reader()
    text = page(summarize(hostile, bad, now=0.0), Path("/out"))
    reader.feed(text)
    assert text.count("<script") == 2  # the data and the script of the page
    assert reader.tags >= {"script", "article"}
    assert "\u202e" not in text


def test_a_summary_names_no_absolute_path_unless_asked(tmp_path: Path) -> None:
    out = tmp_path / "secret-home" / "out"
    root = tmp_path / "secret-home" / "calls"
    full = "cannot write to /var/lib/secret-home/x.json; free some space"
    jobs = [
        job(f"{root}/a/1.wav", took_s=60.0, outputs=[f"{out}/a/1.json", "s3://b/1.json", "/elsewhere/x/1.srt"]),
        job(f"{root}/b/2.wav", took_s=6.0),
        job("https://example.com/x/y.wav", took_s=6.0),
        failed(f"{root}/3.wav", f"{root}/3.wav: {full}"),
        failed(f"{root}/4.wav", f"{root}/4.wav: {full}"),
    ]
    summary = summarize("monday", [one.model_copy(update={"id": f"job-{n}"}) for n, one in enumerate(jobs)], now=1.0)
    for path in write_summary(summary, out):
        text = path.read_text("utf-8")
        assert "secret-home" not in text
        assert "/elsewhere" not in text
        assert "https://example.com/x/y.wav" in text
        assert "a/1.wav" in text
    lines = json.loads((out / "summary.json").read_text("utf-8"))["jobs"]
    assert {line["source"] for line in lines} >= {"a/1.wav", "b/2.wav", "3.wav"}
    assert next(line for line in lines if line["outputs"])["outputs"] == ["a/1.json", "s3://b/1.json", "1.srt"]
    assert 'href="a/1.json"' in (out / "summary.html").read_text("utf-8")
    write_summary(summary, out, absolute_paths=True)
    assert f"{root}/a/1.wav" in (out / "summary.json").read_text("utf-8")


def test_a_summary_never_overwrites_a_transcript(tmp_path: Path) -> None:
    summary = a_summary()
    one = write_summary(summary, tmp_path)
    assert [path.name for path in one] == ["summary.json", "summary.html"]
    assert json.loads(one[0].read_text("utf-8"))["counts"] == {"done": 2, "failed": 1}
    assert write_summary(summary, tmp_path) == one  # over its own of the last run
    assert is_summary(one[0])
    assert write_summary(summary, tmp_path, ["Summary"])[0].name == "batch-summary.json"
    (tmp_path / "summary.json").write_text('{"schema_version": 1, "job_id": "x"}')
    assert write_summary(summary, tmp_path)[0].name == "batch-summary.json"
    assert not is_summary(tmp_path / "summary.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "batch-summary.html",
        "batch-summary.json",
        "summary.html",
        "summary.json",
    ]


def test_a_summary_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the summary"):
        write_summary(a_summary(), tmp_path / "file")


def test_ten_thousand_jobs_take_a_moment() -> None:
    jobs = [failed(f"/in/{n}.wav", f"/in/{n}.wav: the file is empty ({n} bytes)") for n in range(10_000)]
    started = time.process_time()
    summary = summarize("x", jobs, now=1.0)
    assert len(page(summary)) > 100_000
    assert [group.count for group in summary.failures] == [10_000]
    assert time.process_time() - started < 5


LIMITS = BatchLimits(
    max_sessions=4,
    job_max_sessions=4,
    speed=1.0,
    session_max_s=480,
    tail_silence_s=2.0,
    skip_silence=False,
    price_per_hour=0.5,
)


def test_the_estimate_of_a_batch() -> None:
    probes = [
        SourceProbe(source="long", length_s=3600.0),
        SourceProbe(source="short", length_s=60.0),
        SourceProbe(source="s3", length_s=None),
    ]
    plan = estimate_batch(probes, [failed("bad", "bad: empty")], LIMITS)
    assert (plan.files, plan.failing_count, plan.audio_s, plan.unexamined) == (4, 1, 3660.0, ("s3",))
    # Four sections of 900 s, each two sessions; one of 60 s.
    assert plan.sessions == 9
    assert plan.streamed_s == 3660 + 9 * 2
    assert (plan.batch_wall_time_s, plan.longest_file_wall_time_s) == (904 + 62, 904)
    assert plan.cost == round(3678 / 3600 * 0.5, 4)
    assert plan.failures[0].reason == "empty"


def test_an_estimate_without_silence_without_a_speed_and_without_sources() -> None:
    probes = [SourceProbe(source="a", length_s=100.0, speech_s=30.0, silence_s=60.0)]
    plan = estimate_batch(
        probes, [], LIMITS.model_copy(update={"skip_silence": True, "speed": None, "price_per_hour": 0.0})
    )
    assert (plan.streamed_s, plan.speech_s, plan.batch_wall_time_s, plan.cost) == (42.0, 30.0, None, None)
    nothing = estimate_batch([], [], LIMITS)
    assert (nothing.batch_wall_time_s, nothing.sessions, nothing.speech_s) == (0.0, 0, None)
