"""Detection of complete files in a watched folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tasks.cli.watch.settling import SettlingFiles
from worker.audio.opened_file import FileStamp

A, B = Path("/in/a.wav"), Path("/in/b.wav")
ONE = FileStamp(100, 1, 7)


def test_a_file_settles_when_it_is_unchanged_for_long_enough() -> None:
    arrivals = SettlingFiles(5.0)
    arrivals.seen(A, ONE, 0.0)
    arrivals.seen(A, ONE, 4.9)
    assert not arrivals.settled(4.9)
    assert arrivals.settled(5.0) == {A: ONE}
    arrivals.take(A)
    arrivals.seen(A, ONE, 6.0)
    assert (arrivals.settled(60.0), arrivals.waiting, arrivals.known) == ({}, (), (A,))


def test_every_change_restarts_the_wait() -> None:
    for change in (replace(ONE, size_bytes=101), replace(ONE, mtime_ns=2), replace(ONE, inode=8)):
        arrivals = SettlingFiles(5.0)
        arrivals.seen(A, ONE, 0.0)
        arrivals.seen(A, change, 4.0)
        assert not arrivals.settled(8.9)
        assert arrivals.settled(9.0) == {A: change}


def test_a_taken_file_settles_again_when_it_changes_or_is_created_again() -> None:
    arrivals = SettlingFiles(1.0)
    arrivals.seen(A, ONE, 0.0)
    arrivals.take(A)
    arrivals.seen(A, replace(ONE, mtime_ns=2), 10.0)
    assert list(arrivals.settled(11.0)) == [A]
    arrivals.take(A)
    arrivals.gone(A)
    assert arrivals.known == ()
    arrivals.seen(A, replace(ONE, mtime_ns=2), 20.0)
    assert list(arrivals.settled(21.0)) == [A]


def test_a_file_that_was_not_taken_remains_ready() -> None:
    arrivals = SettlingFiles(1.0)
    arrivals.seen(A, ONE, 0.0)
    arrivals.seen(B, ONE, 0.5)
    assert list(arrivals.settled(1.0)) == [A]
    assert list(arrivals.settled(2.0)) == [A, B]


@given(st.lists(st.tuples(st.floats(0.01, 3.0), st.integers(0, 2)), max_size=40), st.floats(0.1, 4.0))
def test_nothing_is_taken_earlier_and_everything_is_taken_once(looks: list[tuple[float, int]], settle_s: float) -> None:
    arrivals = SettlingFiles(settle_s)
    now, since, last, taken = 0.0, 0.0, -1, []
    for pause_s, size in looks:
        now += pause_s
        if size != last:
            since, last = now, size
        arrivals.seen(A, replace(ONE, size_bytes=size), now)
        if arrivals.settled(now):
            assert now - since >= settle_s
            arrivals.take(A)
            taken.append((since, size))
    assert len(taken) == len(set(taken))
