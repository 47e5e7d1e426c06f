"""A service with faults: every word appears once, in order, within 30 ms, or the transcript has a clear reason."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from tests.support import audiofiles
from tests.support.audiofiles import write_words
from tests.support.error_names import ERROR_NAMES
from tests.support.pipeline_run import MemoryLog, assert_said, limit_slowdown, tone_service, transcribe
from tests.support.tones import ToneWord, sentences, speech
from tests.support.wait import allowed_s
from worker import metrics
from worker.errors import (
    AccessRefused,
    AccountRefused,
    AuthRefused,
    EndpointError,
    EndpointUnavailable,
    PermissionRefused,
    ProtocolRefused,
    RequestRefused,
    SessionLost,
    SessionStalled,
)
from worker.realtime import session as realtime_session
from worker.realtime.commit_pairing import CommitPairer
from worker.transcript.model import Segment

# Only the time limits that a test waits for are short. A busy machine exceeds a short limit on its own, and the next
# connection meets the fault that was meant for the one after it.
CLOSES_SOON = {"STT_CLOSE_TIMEOUT_S": "0.5"}
STALLS_SOON = {**CLOSES_SOON, "STT_STALL_TIMEOUT_S": "2"}
SPOKEN = list(speech(24, seed=11))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.pipeline.session_sequence.BACKOFF_S", (0.01, 0.05))


@pytest.fixture
def spoken() -> list[ToneWord]:
    return SPOKEN


@pytest.fixture
def still_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the speed only a little after sessions that end early. Other tests cover the speed."""
    limit_slowdown(monkeypatch, 8.0)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "speech.flac"
    return write_words(path, SPOKEN, 44100, audiofiles.FLAC, channels=2)


# -- 1: commits with and without times -----------------------------------------------------------------------------

PAIRING = [
    ["timed-first"],
    ["timed-only"],
    ["pair-gap=1"],
    ["timed-first", "pair-gap=1"],
    ["triplicate"],
    ["triplicate", "timed-only"],
    ["triplicate", "pair-gap=0.5"],
    ["empty-commits"],
    ["echo"],
    ["echo", "triplicate", "empty-commits", "timed-first"],
]


@pytest.mark.parametrize("faults", PAIRING, ids="+".join)
@pytest.mark.parametrize("forgets", [False, True], ids=["", "forget-tail"])
@pytest.mark.gate_sample(2)
async def test_commits_in_every_form_are_paired_with_their_words(
    recording: Path, spoken: list[ToneWord], faults: list[str], forgets: bool
) -> None:
    async with tone_service(*faults, *["forget-tail"] * forgets) as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert transcript.coverage.complete


@pytest.mark.parametrize("fault", ["plain-only", "words-null", "no-times"])
async def test_without_times_every_word_appears_once_and_is_marked(
    recording: Path, spoken: list[ToneWord], fault: str
) -> None:
    async with tone_service(fault) as settings:
        transcript = await transcribe(recording, settings)
    assert transcript.text.split() == [w.text for w in spoken]
    assert all(s.timing == "estimated" for s in transcript.segments)
    assert any("estimated" in warning for warning in transcript.warnings)
    starts = [s.start for s in transcript.segments]
    assert starts == sorted(starts)
    assert all(0 <= s.start <= s.end <= transcript.source.duration for s in transcript.segments)


@pytest.mark.parametrize(
    "faults", [[], ["triplicate"], ["timed-only"], ["plain-only"]], ids=lambda f: "+".join(f) or "none"
)
async def test_a_sentence_that_was_said_three_times_appears_three_times(tmp_path: Path, faults: list[str]) -> None:
    words = [
        ToneWord(number, sentence * 3.0 + place * 0.3)
        for sentence in range(3)
        for place, number in enumerate([7, 8, 9])
    ]
    source = write_words(tmp_path / "again.wav", words, 16000)
    async with tone_service(*faults) as settings:
        transcript = await transcribe(source, settings, speed=4.0)
    assert transcript.text.split() == [w.text for w in words]


# -- 2: times ------------------------------------------------------------------------------------------------------


async def test_drift_is_corrected(tmp_path: Path) -> None:
    words = list(chain(*sentences(numbers=range(120), words=(4, 4))))
    source = write_words(tmp_path / "long.wav", words, 16000)
    async with tone_service("drift=0.1") as settings:
        transcript = await transcribe(source, settings)
    heard = [w for s in transcript.segments for w in s.words]
    assert [w.text for w in heard] == [w.text for w in words]
    off = [abs(h.start - w.start) for h, w in zip(heard, words, strict=True)]
    assert max(off) < 0.35
    assert max(off[20:]) <= 0.03


# -- 3: the tail ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cut_off(tmp_path: Path) -> tuple[Path, list[ToneWord]]:
    """Write a file that ends within a word, without a pause."""
    words = list(speech(12, seed=21))
    last = words[-1]
    source = write_words(tmp_path / "cut.wav", words, 16000, duration_s=last.start + (last.end - last.start) / 2)
    return source, words[:-1]


@pytest.mark.parametrize("pause", ["0.6", "1.5", "36"])
async def test_a_service_that_does_not_commit_the_tail(cut_off: tuple[Path, list[ToneWord]], pause: str) -> None:
    source, words = cut_off
    async with tone_service("forget-tail", f"commit-pause={pause}") as settings:
        transcript = await transcribe(source, settings)
    assert_said(transcript, words)
    assert transcript.coverage.complete
    assert transcript.sessions[0].silence <= float(pause) + 2.5


async def test_the_last_partial_of_a_service_that_never_commits_is_kept(cut_off: tuple[Path, list[ToneWord]]) -> None:
    source, words = cut_off
    async with tone_service(
        "never-commit", "forget-tail", STT_TAIL_SILENCE_MAX_S="3", STT_TAIL_SILENCE_MIN_S="1"
    ) as settings:
        transcript = await transcribe(source, settings)
    last = transcript.segments[-1]
    assert not last.committed
    assert last.text.split()[-1] == words[-1].text
    (gap,) = transcript.coverage.missing
    assert gap.end == pytest.approx(transcript.source.duration, abs=0.01)
    assert any("never committed" in w for w in transcript.warnings)


# -- 4 and 5: sessions that end early ------------------------------------------------------------------------------

# The speed is low enough for a session to commit text before it ends.
PACE = 16.0
ENDS = [
    "time-limit=7:1-4",
    "close=7:1-4",
    "drop=7:1-4",
    "error=transcriber_error@7:1-4",
    "error-message=resource_exhausted@7:1-4",
]


@pytest.mark.usefixtures("still_quick")
@pytest.mark.parametrize("fault", ENDS)
@pytest.mark.parametrize("forgets", [False, True], ids=["", "forget-tail"])
@pytest.mark.gate_sample(3)
async def test_sessions_that_end_early_are_followed_by_others(
    recording: Path, spoken: list[ToneWord], fault: str, forgets: bool
) -> None:
    log = MemoryLog()
    async with tone_service(fault, *["forget-tail"] * forgets) as settings:
        transcript = await transcribe(recording, settings, log=log, speed=PACE)
    assert_said(transcript, spoken)
    assert transcript.coverage.complete
    assert len(transcript.sessions) > 3
    # The last session may fail too, on a busy machine: if all of its text is committed, that is no failure of the job.
    assert len(transcript.failures) in (len(transcript.sessions) - 1, len(transcript.sessions) - 2)
    assert tuple(log.segments) == transcript.segments


@pytest.mark.usefixtures("still_quick")
@pytest.mark.parametrize("at", [0.3, 1.1, 2.9, 4.7, 5.2, 9.8, 11.3])
@pytest.mark.gate_sample(2)
async def test_a_dropped_connection_at_any_moment_loses_no_word(
    recording: Path, spoken: list[ToneWord], at: float
) -> None:
    async with tone_service(f"drop={at}:1-2") as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert len(transcript.sessions) == 3


@pytest.mark.usefixtures("still_quick")
async def test_without_times_a_dropped_connection_loses_and_doubles_no_word(
    recording: Path, spoken: list[ToneWord]
) -> None:
    async with tone_service("drop=8:1-2", "plain-only") as settings:
        transcript = await transcribe(recording, settings)
    assert transcript.text.split() == [w.text for w in spoken]


@pytest.mark.usefixtures("still_quick")
@pytest.mark.parametrize(
    "faults", [["drop=8:1-2"], ["close=8:1", "echo"], ["drop=6:1", "drop=12:2", "echo"]], ids="+".join
)
async def test_commits_that_are_delivered_before_the_loss_are_not_doubled(
    recording: Path, spoken: list[ToneWord], faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a slow machine, where commits without word times are delivered before the connection is lost."""
    monkeypatch.setattr(realtime_session, "CommitPairer", partial(CommitPairer, 0.0))
    async with tone_service(*faults, "plain-only") as settings:
        transcript = await transcribe(recording, settings)
    assert transcript.text.split() == [w.text for w in spoken]


async def test_sessions_are_rotated_at_a_pause(tmp_path: Path) -> None:
    words = list(chain(*sentences(numbers=range(60), words=(5, 5), pause_s=(2.2, 2.5))))
    source = write_words(tmp_path / "long.wav", words, 16000)
    async with tone_service(STT_SESSION_MAX_S="15") as settings:
        transcript = await transcribe(source, settings)
    assert_said(transcript, words)
    assert len(transcript.sessions) >= 3
    assert transcript.failures == ()
    assert all(s.end - s.start >= 15 for s in transcript.sessions[:-1])


@pytest.mark.usefixtures("still_quick")
async def test_without_times_sessions_are_rotated_as_well(tmp_path: Path) -> None:
    words = list(chain(*sentences(numbers=range(60), words=(5, 5), pause_s=(2.2, 2.5))))
    source = write_words(tmp_path / "long.wav", words, 16000)
    async with tone_service("plain-only", STT_SESSION_MAX_S="15") as settings, asyncio.timeout(allowed_s(60)):
        transcript = await transcribe(source, settings)
    assert transcript.text.split() == [w.text for w in words]
    assert len(transcript.sessions) >= 3


# -- 6: stalls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["stop-reading=6:1", "mute=6:1"])
async def test_a_session_that_stalls_is_followed_by_another(
    recording: Path, spoken: list[ToneWord], fault: str
) -> None:
    async with tone_service(fault, **STALLS_SOON) as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert [s.ended for s in transcript.sessions] == ["stalled", "completed"]


@pytest.mark.parametrize("fault", ["stop-reading=1", "mute=1"])
async def test_a_session_that_stalls_ends_within_its_bound(recording: Path, fault: str) -> None:
    # The stall is before the first commit, because a commit resets the count of failures.
    bounds = {**CLOSES_SOON, "STT_STALL_TIMEOUT_S": "1"}
    async with tone_service(fault, STT_SESSION_RETRIES="0", **bounds) as settings:
        # The timeout, the close, and a margin for a busy machine.
        async with asyncio.timeout(allowed_s(15)):
            with pytest.raises(SessionStalled, match="for 1 s"):
                await transcribe(recording, settings)


async def test_a_slow_connection_attempt_succeeds_and_a_hanging_one_times_out(
    recording: Path, spoken: list[ToneWord]
) -> None:
    async with tone_service("slow=0.5", **CLOSES_SOON) as settings:
        assert_said(await transcribe(recording, settings), spoken)
    # Two connections: polling is tried after a websocket that is not answered.
    async with tone_service("hang:1-2", STT_CONNECT_TIMEOUT_S="2", **CLOSES_SOON) as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert "no connection within 2 s" in transcript.failures[0]


# -- 7: flow -------------------------------------------------------------------------------------------------------


async def test_an_overloaded_service_gets_audio_more_slowly(recording: Path, spoken: list[ToneWord]) -> None:
    async with tone_service("overflow=8") as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert transcript.speed == "max"
    assert transcript.speed_falls
    assert transcript.speed_falls[-1].speed <= 16
    assert all("queue_overflow" in fall.reason for fall in transcript.speed_falls)


@pytest.mark.usefixtures("still_quick")
@pytest.mark.parametrize(
    "faults", [["http=429:1-2"], ["refuse=rate_limited:1-2"], ["error=rate_limited@0:1"]], ids="+".join
)
async def test_a_busy_service_is_asked_again(recording: Path, spoken: list[ToneWord], faults: list[str]) -> None:
    async with tone_service(*faults) as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert "at its limit" in transcript.failures[0]
    assert transcript.speed_falls


async def test_auto_starts_at_real_time(tmp_path: Path) -> None:
    words = list(speech(3, seed=5))
    source = write_words(tmp_path / "short.wav", words, 16000)
    async with tone_service() as settings:
        transcript = await transcribe(source, settings, speed="auto")
    assert_said(transcript, words)
    assert transcript.elapsed > 0.6 * transcript.source.duration
    assert transcript.speed_falls == ()


# -- 8: refusals ---------------------------------------------------------------------------------------------------


def session_retries() -> float:
    samples = [sample for metric in metrics.RETRIES.collect() for sample in metric.samples]
    return sum(s.value for s in samples if s.name.endswith("_total") and s.labels["level"] == "session")


@pytest.mark.parametrize("fault", ["http=401", "refuse", "error=auth_error@0", "error-message=auth_error@5"])
@pytest.mark.parametrize("transport", ["auto", "polling"])
async def test_a_refused_key_fails_the_job_at_once(recording: Path, fault: str, transport: str) -> None:
    before = session_retries()
    async with tone_service(fault, STT_TRANSPORT=transport, **CLOSES_SOON) as settings:
        with pytest.raises(AuthRefused, match=f"API key refused by {settings.url}"):
            await transcribe(recording, settings)
    assert session_retries() == before


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("http=400", ProtocolRefused),
        ("http=402", AccountRefused),
        ("http=403", PermissionRefused),
        ("refuse=Insufficient credits", AccountRefused),
        ("refuse=quota_exceeded", AccountRefused),
        ("refuse=Your key has no permission to use speech to text", PermissionRefused),
        ("error=quota_exceeded@0", AccountRefused),
    ],
)
async def test_other_refusals_fail_the_job_at_once(recording: Path, fault: str, kind: type[EndpointError]) -> None:
    before = session_retries()
    async with tone_service(fault, **CLOSES_SOON) as settings:
        with pytest.raises(kind, match=fault.partition("=")[2].partition("@")[0]):
            await transcribe(recording, settings)
    assert session_retries() == before


@pytest.mark.parametrize("fault", ["http=429@1:1", "http=503@1:1"])
async def test_the_pause_that_a_service_demands_is_kept(recording: Path, spoken: list[ToneWord], fault: str) -> None:
    started = time.monotonic()
    async with tone_service(fault, **CLOSES_SOON) as settings:
        transcript = await transcribe(recording, settings)
    assert time.monotonic() - started >= 1.0
    assert_said(transcript, spoken)


@pytest.mark.parametrize("status", [400, 403, 502])
async def test_refusals_after_a_success_are_retried(recording: Path, spoken: list[ToneWord], status: int) -> None:
    """The key was accepted before, so an intermediary may have sent the refusal."""
    async with tone_service("drop=12:1", f"http={status}:2-3", STT_TRANSPORT="websocket", **CLOSES_SOON) as settings:
        transcript = await transcribe(recording, settings, speed=PACE)
    assert_said(transcript, spoken)
    assert f"HTTP {status}" in " ".join(transcript.failures)


@pytest.mark.usefixtures("still_quick")
@pytest.mark.parametrize("name", sorted(ERROR_NAMES))
@pytest.mark.gate_sample(2)
async def test_every_error_of_the_service_has_its_own_reaction(
    recording: Path, spoken: list[ToneWord], name: str
) -> None:
    fatal = name in (
        "auth_error",
        "quota_exceeded",
        "unaccepted_terms",
        "input_error",
        "invalid_request",
        "chunk_size_exceeded",
    )
    # In real time, because some of these errors have no effect after all audio is sent.
    async with tone_service(f"error={name}@8:1") as settings:
        if fatal:
            with pytest.raises((AccessRefused, RequestRefused)):
                await transcribe(recording, settings, speed=PACE)
        else:
            transcript = await transcribe(recording, settings, speed=PACE)
            assert_said(transcript, spoken)
            assert len(transcript.sessions) == 2


async def test_the_rest_is_listed_as_missing_when_the_retries_are_used_up(recording: Path) -> None:
    async with tone_service("http=500:2-99", "drop=12:1", **CLOSES_SOON) as settings:
        transcript = await transcribe(recording, settings, speed=PACE)
    assert not transcript.coverage.complete
    (gap,) = transcript.coverage.missing
    assert gap.start == max(s.end for s in transcript.segments if s.committed)
    assert gap.end == pytest.approx(transcript.source.duration, abs=0.01)
    assert "HTTP 500" in gap.reason


@pytest.mark.usefixtures("still_quick")
async def test_every_sample_is_accounted_for(recording: Path) -> None:
    async with tone_service("drop=9:1", "forget-tail") as settings:
        transcript = await transcribe(recording, settings, speed=PACE)
    (section,) = transcript.coverage.sections
    assert section.end == pytest.approx(transcript.source.duration * transcript.coverage.sample_rate, abs=8)
    assert (section.start, section.sent, section.heard) == (0, section.end, section.end)
    assert section.committed == round(transcript.segments[-1].end * transcript.coverage.sample_rate)
    assert section.finished


async def test_an_unreachable_service_fails_the_job(recording: Path) -> None:
    async with tone_service("http=503", **CLOSES_SOON) as settings:
        with pytest.raises(EndpointUnavailable, match="HTTP 503"):
            await transcribe(recording, settings)


# -- 9: transports -------------------------------------------------------------------------------------------------


async def test_polling_works_where_websockets_are_blocked(recording: Path, spoken: list[ToneWord]) -> None:
    async with tone_service("polling-only") as settings:
        assert_said(await transcribe(recording, settings), spoken)
    async with tone_service("polling-only", STT_TRANSPORT="websocket", **CLOSES_SOON) as settings:
        with pytest.raises(ProtocolRefused, match="HTTP 400"):
            await transcribe(recording, settings)


# -- 10: chunks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame_s", ["0.1", "0.25", "1.0"])
async def test_frames_of_every_length_give_the_same_words(
    recording: Path, spoken: list[ToneWord], frame_s: str
) -> None:
    async with tone_service(f"chunk-max={frame_s}", STT_FRAME_S=frame_s, STT_FRAME_MAX_S=frame_s) as settings:
        for speed in (math.inf, 16.0):
            assert_said(await transcribe(recording, settings, speed=speed), spoken)


class CancelledLog(MemoryLog):
    """A log whose second commit ends with CancelledError, although nothing was cancelled."""

    async def commit(self, segment: Segment) -> None:
        if self.segments:
            raise asyncio.CancelledError
        await super().commit(segment)


async def test_a_commit_that_raises_a_cancellation_by_itself_is_a_failure(recording: Path) -> None:
    """Clients of Redis were seen to do this after a failover. The transcript then lacked the rest of the audio."""
    async with tone_service() as settings:
        with pytest.raises(SessionLost, match="stopped before the end"):
            await transcribe(recording, settings, log=CancelledLog())
