"""A long file in sections, with real workers: one worker is killed, and other files need session slots."""

from __future__ import annotations

import itertools

import numpy as np

from tasks.client.handles import submit
from tests.support.audiofiles import write_signal
from tests.support.fleet import RATE, Fleet
from tests.support.pipeline_run import assert_said
from tests.support.tones import encode, speech
from tests.support.wait import wait_until
from worker.ledger.records import JobState
from worker.transcript.model import Segment

LENGTH_S = 200.0
ROOM_S = 320.0  # three sections by itself


def sections_heard(fleet: Fleet, job_id: str) -> set[int]:
    with fleet.raw as raw:
        entries = raw.xrange(f"stt:job:{job_id}:commits")
    return {Segment.model_validate_json(fields["segment"]).section for _, fields in entries}


def test_each_section_of_a_killed_worker_continues_at_its_last_commit(fleet: Fleet) -> None:
    source, words = fleet.audio("long", LENGTH_S)
    fleet.start(sessions=3)
    fleet.start(sessions=2)  # whoever takes it over keeps its plan
    job = submit(source, settings=fleet.settings, speed=16.0, sessions=3)
    wait_until(
        lambda: fleet.record(job.id).progress.committed_s > LENGTH_S * 0.3, "a third of it is committed", timeout_s=60
    )
    assert sections_heard(fleet, job.id) >= {0, 1}
    with fleet.raw as raw:
        plan = raw.hget(f"stt:job:{job.id}", "plan")
    assert plan
    fleet.owner(job.id).kill()
    fleet.until_ended(job.id, timeout_s=60)
    record = fleet.record(job.id)
    assert record.state is JobState.DONE, record.error
    assert record.attempts == 2
    transcript = fleet.transcript(job.id)
    heard = [w.text for s in transcript.segments for w in s.words]
    assert heard == [w.text for w in words]
    assert sorted(fleet.committed(job.id)) == sorted(w.text for w in words)
    with fleet.raw as raw:
        assert raw.hget(f"stt:job:{job.id}", "plan") == plan
    # The second worker streamed only the remaining audio.
    assert sum(s.end - s.start for s in transcript.sessions) < LENGTH_S * 0.8


def test_each_channel_of_a_killed_worker_continues_at_its_last_commit(fleet: Fleet) -> None:
    words = [list(speech(159, seed=70 + k, numbers=itertools.count(1 + 9000 * k))) for k in range(2)]
    signal = np.stack([encode(some, RATE, duration_s=160) for some in words], axis=1)
    source = write_signal(fleet.folder / "call.wav", signal, RATE)
    fleet.start(sessions=4)
    fleet.start(sessions=4)
    job = submit(
        source, settings=fleet.settings, speed=16.0, sessions=4, channels="split", channel_names=("agent", "customer")
    )
    wait_until(lambda: fleet.record(job.id).progress.committed_s > 60, "a third of it is committed", timeout_s=60)
    assert sections_heard(fleet, job.id) == {0, 1, 2, 3}
    fleet.owner(job.id).kill()
    fleet.until_ended(job.id, timeout_s=60)
    record = fleet.record(job.id)
    assert (record.state, record.attempts) == (JobState.DONE, 2), record.error
    transcript = fleet.transcript(job.id)
    for name, some in zip(("agent", "customer"), words, strict=True):
        own = tuple(s for s in transcript.segments if s.channel == name)
        assert_said(transcript.model_copy(update={"segments": own}), some)
    assert sorted(fleet.committed(job.id)) == sorted(w.text for some in words for w in some)
    assert sum(s.end - s.start for s in transcript.sessions) < 2 * 160 * 0.95


def test_a_long_file_yields_session_slots_to_a_short_one(fleet: Fleet) -> None:
    long, words = fleet.audio("long", ROOM_S)
    short, few = fleet.audio("short", 4.0, seed=2)
    fleet.start(sessions=3)
    first = submit(long, settings=fleet.settings, speed=8.0)
    wait_until(
        lambda: sections_heard(fleet, first.id) == {0, 1, 2}, "it has all three places", timeout_s=60, poll_s=0.2
    )
    second = submit(short, settings=fleet.settings, speed=8.0)
    fleet.until_ended(second.id)
    record = fleet.record(first.id)
    assert record.state is JobState.RUNNING
    # If the long job made no room, the short job would begin with the end of a section. All sections end together.
    assert record.progress.committed_s < ROOM_S * 2 / 3
    fleet.assert_done(second.id, few)
    fleet.until_ended(first.id, timeout_s=90)
    transcript = fleet.transcript(first.id)
    assert [w.text for s in transcript.segments for w in s.words] == [w.text for w in words]
    assert not transcript.failures
