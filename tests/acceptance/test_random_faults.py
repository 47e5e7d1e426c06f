"""Random files and random faults. The transcript has the same words, in the same order and at the same times, as
without faults."""

from __future__ import annotations

import asyncio
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.support.audiofiles import FLAC, MULAW, WAV, Coding, write_words
from tests.support.pipeline_run import assert_said, limit_slowdown, tone_service, transcribe
from tests.support.tones import speech
from worker.realtime.rate_control import MIN_SPEED

FORMS = [
    "plain-first",
    "timed-first",
    "timed-only",
    "triplicate",
    "empty-commits",
    "echo",
    "pair-gap=0.4",
    "drift=0.1",
    "text-copies=2",
]
sessions = st.sampled_from([":1", ":2", ":1-2", ":1,3", ":2-3"])
ERRORS = ["rate_limited", "transcriber_error", "error", "session_time_limit_exceeded", "oddity"]


def plans(latest_s: float) -> st.SearchStrategy[list[str]]:
    """Faults at up to `latest_s` seconds after the start of a session."""
    seconds = st.floats(0.5, latest_s).map(lambda s: f"{s:.2f}")

    def ends(kind: str) -> st.SearchStrategy[str]:
        return st.tuples(seconds, sessions).map(lambda t: f"{kind}={t[0]}{t[1]}")

    def errors(kind: str) -> st.SearchStrategy[str]:
        return st.tuples(st.sampled_from(ERRORS), seconds, sessions).map(lambda t: f"{kind}={t[0]}@{t[1]}{t[2]}")

    return st.lists(
        st.one_of(
            st.sampled_from(FORMS[1:]),
            ends("drop"), ends("close"), ends("time-limit"), ends("mute"), ends("stop-reading"),
            errors("error"), errors("error-message"),
            sessions.map(lambda s: f"http=503{s}"), sessions.map(lambda s: f"http=429{s}"),
            sessions.map(lambda s: f"refuse=rate_limited{s}"),
            st.sampled_from(["polling-only", "commit-pause=1.5", "longest=6", "forget-tail"]),
        ),
        max_size=5,
        unique_by=lambda fault: fault.partition("=")[0],
    )  # fmt: skip


def files(longest_s: float) -> st.SearchStrategy[tuple[int, float, tuple[Coding, int]]]:
    codings = st.sampled_from([(WAV, 16000), (FLAC, 44100), (MULAW, 8000)])
    return st.tuples(st.integers(0, 10_000), st.floats(3, longest_s), codings)


async def check(
    directory: Path, seed: int, length_s: float, coding: Coding, rate: int, faults: list[str], speed: float
) -> None:
    words = list(speech(length_s, seed=seed))
    # The file may end within a word, which is then not expected.
    source = write_words(directory / f"speech.{coding.ending}", words, rate, coding, duration_s=length_s)
    whole = [w for w in words if w.end <= length_s]
    quick = {"STT_STALL_TIMEOUT_S": "1.5", "STT_CONNECT_TIMEOUT_S": "2", "STT_CLOSE_TIMEOUT_S": "0.5"}
    async with tone_service(*faults, **quick, STT_SESSION_RETRIES="9") as service:
        transcript = await transcribe(source, service, speed=speed)
    assert_said(transcript, whole)
    assert transcript.coverage.complete


def disturbed(file: tuple[int, float, tuple[Coding, int]], faults: list[str], speed: float, *, slowest: float) -> None:
    seed, length_s, (coding, rate) = file
    note(f"seed={seed} length_s={length_s} coding={coding} rate={rate} faults={faults} speed={speed}")
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.pipeline.session_sequence.BACKOFF_S", (0.01, 0.05))
        limit_slowdown(patch, slowest)
        asyncio.run(check(Path(directory), seed, length_s, coding, rate, faults, speed))


some = settings(
    max_examples=10, deadline=None, print_blob=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
speeds = st.sampled_from([12.0, math.inf])


@pytest.mark.timeout(600)
@some
@given(files(24.0), plans(12.0), speeds)
def test_ten_random_files_with_random_faults(
    file: tuple[int, float, tuple[Coding, int]], faults: list[str], speed: float
) -> None:
    disturbed(file, faults, speed, slowest=8.0)


# Four parts, so that they run in parallel: together they take 13 minutes. Not derandomized, because all would try the
# same cases.
@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
@settings(some, max_examples=50, derandomize=False)
@given(file=files(40.0), faults=plans(20.0), speed=speeds)
def test_two_hundred_random_files_with_random_faults(
    part: int, file: tuple[int, float, tuple[Coding, int]], faults: list[str], speed: float
) -> None:
    note(f"part {part}")
    disturbed(file, faults, speed, slowest=MIN_SPEED)
