"""The estimate of waiting audio."""

from __future__ import annotations

from worker.ledger.queue_audio import ASSUMED_S, JobAudio, left_s, mean_s


def test_unknown_durations_are_the_mean_of_the_known_ones() -> None:
    jobs = [JobAudio(100.0, 0.0), JobAudio(300.0, 300.0), JobAudio(0.0, 0.0)]
    assert mean_s(jobs) == 200.0
    assert mean_s([JobAudio(0.0, 0.0)]) == ASSUMED_S
    assert mean_s([]) == ASSUMED_S


def test_committed_audio_is_not_counted() -> None:
    jobs = [JobAudio(100.0, 40.0), JobAudio(50.0, 60.0), JobAudio(0.0, 0.0)]
    assert left_s(jobs, total=3, mean=10.0) == 60.0 + 0.0 + 10.0


def test_a_sample_stands_for_all_jobs() -> None:
    assert left_s([JobAudio(100.0, 0.0)] * 10, total=1_000, mean=1.0) == 100_000.0
    assert left_s([], total=5, mean=20.0) == 100.0, "the jobs left the set between the two readings"
    assert left_s([], total=0, mean=20.0) == 0.0
