"""The progress of a run, computed from records."""

from __future__ import annotations

import pytest

from tasks.batches.number_format import format_duration, format_speed
from tasks.cli.run.file_states import File
from tasks.cli.run.progress_totals import MAX_WAITING_POLLED, RunTracker
from worker.ledger.records import FIELDS, JobRecord, JobState, read_record
from worker.storage.address import parse


def a_record(state: str, duration_s: float = 0, committed_s: float = 0, **fields: str) -> JobRecord:
    values = {**dict.fromkeys(FIELDS), "state": state, "duration_s": str(duration_s), "committed_s": str(committed_s)}
    record = read_record("id", {**values, **fields})
    assert record is not None
    return record


def files(*sizes: int) -> list[File]:
    return [File(parse(f"{n}.wav"), str(n), size, job_id=str(n)) for n, size in enumerate(sizes)]


def test_speed_fraction_and_time_left() -> None:
    a, b, c = files(100, 100, 200)
    tracker = RunTracker([a, b, c])
    tracker.mark(0.0)
    assert (tracker.overall().fraction, tracker.overall().speed, tracker.overall().left_s) == (0.0, None, None)

    tracker.update(a, a_record("running", 10, 0))
    tracker.update(b, a_record("running", 10, 0))
    tracker.mark(1.0)
    tracker.update(a, a_record("running", 10, 5))
    tracker.mark(2.0)
    overall = tracker.overall()
    assert overall.fraction == pytest.approx(5 / 40)  # c: 200 bytes at the same seconds a byte as a and b
    assert overall.speed == pytest.approx(2.5)
    assert overall.left_s == pytest.approx(35 / 2.5)
    assert (overall.active, overall.done, overall.ended) == (2, 0, False)

    for file in (a, b, c):
        tracker.update(file, a_record("done", 10, 9, started="1000", ended="3000"))
    tracker.mark(4.0)
    overall = tracker.overall()
    assert (overall.fraction, overall.done, overall.ended, overall.left_s) == (1.0, 3, True, None)
    assert a.took_s == 2.0
    assert a.behind_s == 10


def test_audio_done_before_the_run_does_not_count_as_speed() -> None:
    resumed, skipped = files(100, 100)
    skipped.skipped, skipped.record = True, a_record("done", 50, 50)
    tracker = RunTracker([resumed, skipped])
    tracker.update(resumed, a_record("queued", 100, 60))
    tracker.mark(0.0)
    tracker.update(resumed, a_record("running", 100, 62))
    tracker.mark(1.0)
    overall = tracker.overall()
    assert overall.speed == pytest.approx(2.0)
    assert overall.fraction == pytest.approx(0.62)
    assert (overall.done, overall.skipped, overall.failed) == (1, 1, 0)


def test_failures_keep_their_reason() -> None:
    failed, unreadable, gone = files(1, 1, 1)
    tracker = RunTracker([failed, unreadable, gone])
    tracker.update(failed, a_record("failed", error_code="source_damaged", error="broken"))
    unreadable.problem = ("source_not_found", "no such file")
    tracker.update(gone, a_record("running"))
    tracker.update(gone, None)
    assert [file.error for file in tracker.files] == [
        ("source_damaged", "broken"),
        ("source_not_found", "no such file"),
        ("expired", "its record is no longer in the ledger"),
    ]
    tracker.mark(0.0)
    assert (tracker.overall().failed, tracker.overall().ended) == (3, True)


def test_an_error_of_an_earlier_attempt_is_no_failure() -> None:
    (file,) = files(1)
    RunTracker([file]).update(file, a_record("running", error_code="session_lost", error="x"))
    assert file.error is None


def test_of_many_jobs_the_running_ones_and_some_waiting_ones_are_polled() -> None:
    tracker = RunTracker(files(*[1] * (MAX_WAITING_POLLED * 4)))
    running = str(MAX_WAITING_POLLED * 4 - 1)
    seen: set[str | None] = set()
    for _ in range(4):
        look = [file.job_id for file in tracker.files_to_poll([running])]
        assert look[0] == running
        assert len(look) == len(set(look)) <= 2 * MAX_WAITING_POLLED + 1
        assert {str(n) for n in range(MAX_WAITING_POLLED)} <= set(look)
        seen |= set(look)
    assert seen == {file.job_id for file in tracker.files}


def test_committed_partial_text_is_not_shown_twice() -> None:
    (file,) = files(1)
    tracker = RunTracker([file])
    tracker.update(file, a_record("running", partial="hello"))
    assert file.partial_text == "hello"
    tracker.update(file, a_record("running", partial=""))  # the service has committed it
    assert file.partial_text == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3600, "1:00:00"), (36061, "10:01:01")],
)
def test_durations_are_formatted_as_minutes_and_hours(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


def test_speeds_are_formatted_as_factors() -> None:
    assert (format_speed(None), format_speed(12.34)) == ("–", "12.3x")


def test_states_without_a_record() -> None:
    (file,) = files(1)
    assert file.state is JobState.QUEUED
    assert (file.duration_s, file.behind_s, file.took_s) == (0.0, 0.0, None)
