"""A file in several simultaneous sections has the same words at the same times as in one session."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audiofiles import FLAC, MP3, WAV, Coding, write_words
from tests.support.pipeline_run import (
    TIME_TOLERANCE_S,
    MemoryLog,
    assert_said,
    limit_slowdown,
    shorten_sections,
    tone_service,
    transcribe,
)
from tests.support.tones import speech
from worker.audio.segmentation.section_plan import MIN_LENGTH_FACTOR
from worker.errors import AuthRefused, EndpointUnavailable
from worker.pipeline.job import ResumeState
from worker.transcript.model import SectionFacts

LENGTH_S = 84.0
SECTION_S = 12.0
"""Minimum length of a section in these tests."""
MIN_LENGTH_S = SECTION_S * MIN_LENGTH_FACTOR
PACE = 14.0
WORDS = list(speech(LENGTH_S - 1, seed=11))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sections")
    for coding, rate in ((WAV, 16000), (FLAC, 44100), (MP3, 44100)):
        write_words(folder / f"speech.{coding.ending}", WORDS, rate, coding, duration_s=LENGTH_S)
    return folder


@pytest.fixture
def short_sections() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_sections(patch, SECTION_S)
        yield


@pytest.mark.usefixtures("short_sections")
@pytest.mark.parametrize("coding", [WAV, FLAC, MP3], ids=lambda c: c.ending)
@pytest.mark.parametrize("sessions", [2, 5, 32])
@pytest.mark.gate_sample(3)
async def test_any_number_of_sessions_gives_the_same_words(files: Path, coding: Coding, sessions: int) -> None:
    log = MemoryLog()
    async with tone_service() as service:
        transcript = await transcribe(files / f"speech.{coding.ending}", service, sessions=sessions, log=log)
    assert_said(transcript, WORDS)
    assert transcript.coverage.complete
    count = len(transcript.coverage.sections)
    assert count == min(sessions, int(LENGTH_S / MIN_LENGTH_S))
    assert sorted(log.done) == list(range(count))
    assert transcript.coverage.sent == pytest.approx(LENGTH_S, abs=0.1)
    assert log.reports[-1].sent_s == pytest.approx(LENGTH_S, abs=0.1)


class StartedLog(MemoryLog):
    """When the first section is finished, stores the numbers of the sections that have committed text."""

    started: frozenset[int] | None = None

    async def record_section(self, section: int, facts: SectionFacts) -> None:
        if self.started is None:
            self.started = frozenset(segment.section for segment in self.segments)
        await super().record_section(section, facts)


@pytest.mark.usefixtures("short_sections")
async def test_sections_run_at_the_same_time(files: Path) -> None:
    log = StartedLog()
    async with tone_service() as service:
        transcript = await transcribe(files / "speech.wav", service, sessions=4, log=log, speed=PACE)
    assert_said(transcript, WORDS)
    assert log.started == {0, 1, 2, 3}
    assert [s.section for s in log.segments] != sorted(s.section for s in log.segments)


@pytest.mark.usefixtures("short_sections")
@pytest.mark.parametrize(
    "faults",
    [
        ["drop=6:1,3,5"],
        ["time-limit=8:1-4"],
        ["http=503:2-3", "timed-first"],
        ["refuse=rate_limited:3-4", "triplicate"],
        ["mute=7:2"],
    ],
    ids=lambda f: f[0],
)
@pytest.mark.gate_sample(2)
async def test_a_broken_session_does_not_lose_words_of_its_section(
    files: Path, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_slowdown(monkeypatch, 4.0)
    async with tone_service(*faults, STT_STALL_TIMEOUT_S="1.5") as service:
        transcript = await transcribe(files / "speech.flac", service, sessions=4, speed=PACE)
    assert_said(transcript, WORDS)
    assert transcript.coverage.complete


@pytest.mark.usefixtures("short_sections")
async def test_a_later_attempt_continues_in_each_section(files: Path) -> None:
    """The service fails permanently in the first attempt. The second attempt uses its plan and finished sections."""
    first = MemoryLog()
    async with tone_service("drop=10:2", "http=503:5-99", STT_SESSION_RETRIES="0") as service:
        broken = await transcribe(files / "speech.wav", service, sessions=4, speed=PACE, log=first)
    assert not broken.coverage.complete
    assert {gap.reason for gap in broken.coverage.missing}
    assert first.plans is not None
    second = MemoryLog()
    async with tone_service() as service:
        whole = await transcribe(
            files / "speech.wav",
            service,
            sessions=2,  # has no effect, because the plan stays
            resume=ResumeState(first.plans, first.done, tuple(s for s in first.segments if s.committed)),
            log=second,
        )
    assert second.plans is None
    assert_said(whole, WORDS)
    assert whole.coverage.complete
    assert not set(second.done) & set(first.done)
    assert sum(s.end - s.start for s in whole.sessions) < LENGTH_S * 0.8


@pytest.mark.usefixtures("short_sections")
async def test_a_refused_key_ends_all_sections_at_once(files: Path) -> None:
    async with tone_service() as service:
        wrong = service.model_copy(update={"api_key": type(service.api_key)("wrong")})
        with pytest.raises(AuthRefused):
            await transcribe(files / "speech.wav", wrong, sessions=4)


@pytest.mark.usefixtures("short_sections")
async def test_an_unreachable_service_is_not_tried_for_every_section(files: Path) -> None:
    log = MemoryLog()
    async with tone_service("http=503", STT_SESSION_RETRIES="1") as service:
        with pytest.raises(EndpointUnavailable):
            await transcribe(files / "speech.wav", service, sessions=2, log=log)
    assert not log.segments


@pytest.mark.usefixtures("short_sections")
async def test_silence_is_skipped_and_the_times_stay_those_of_the_file(tmp_path: Path) -> None:
    early, late = list(speech(20, seed=3)), list(speech(20, seed=4))
    words = [*early, *(w.__class__(w.number + 1000, w.start + 200) for w in late)]
    source = write_words(tmp_path / "gap.flac", words, 44100, FLAC, duration_s=250)
    options = {"STT_SPEECH_DETECTOR": "level", "STT_PRICE_PER_HOUR": "0.6"}
    async with tone_service(**options) as service:
        for sessions in (1, 4):
            transcript = await transcribe(source, service, sessions=sessions, skip_silence=True)
            assert_said(transcript, words)
            assert transcript.coverage.complete
            assert transcript.saved is not None
            assert transcript.saved.minutes == pytest.approx((250 - 40) / 60, abs=0.15)
            assert transcript.saved.money == pytest.approx(transcript.saved.minutes / 100, abs=0.001)
            assert transcript.coverage.sent < 50


@pytest.mark.usefixtures("short_sections")
async def test_a_silent_file_is_not_streamed(tmp_path: Path) -> None:
    source = write_words(tmp_path / "silence.wav", [], 16000, WAV, duration_s=60)
    async with tone_service(STT_SPEECH_DETECTOR="level") as service:
        transcript = await transcribe(source, service, sessions=4, skip_silence=True)
    assert transcript.segments == ()
    assert transcript.sessions == ()
    assert transcript.coverage.complete
    assert transcript.coverage.skipped[0].end == pytest.approx(60)


@pytest.mark.usefixtures("short_sections")
async def test_without_disk_space_the_file_is_streamed_in_one_section(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker.audio.pcm_spool.os.write", full)
    async with tone_service() as service:
        transcript = await transcribe(files / "speech.mp3", service, sessions=4)
    assert_said(transcript, WORDS)
    assert len(transcript.coverage.sections) == 1
    assert "No space left" in transcript.warnings[0]


@pytest.mark.usefixtures("short_sections")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_speech_without_a_pause_is_cut_with_an_overlap(tmp_path: Path, seed: int) -> None:
    """The service itself divides words when it must commit; the cuts between sections must not divide words."""
    words = list(speech(90, seed=seed, gap_s=(0.08, 0.14), pause_s=(0.0, 0.05)))
    source = write_words(tmp_path / "fast.wav", words, 16000, WAV, duration_s=91)
    log = MemoryLog()
    async with tone_service("longest=20") as service:
        transcript = await transcribe(source, service, sessions=3, speed=math.inf, log=log)
    assert log.plans is not None
    handovers = [s.handover / 16000 for s in log.plans[0].sections if s.overlap_before]
    assert len(handovers) == 2
    heard = [w for s in transcript.segments for w in s.words]
    places = {w.text: w.start for w in words}
    assert len({w.text for w in heard}) == len(heard)
    assert [w.text for w in heard] == [w.text for w in words if w.text in {h.text for h in heard}]
    assert max(abs(w.start - places[w.text]) for w in heard) <= TIME_TOLERANCE_S
    lost = [start for text, start in places.items() if text not in {w.text for w in heard}]
    assert not [at for at in lost if any(abs(at - handover) < 1.2 for handover in handovers)]
    assert len(lost) <= 90 / 20
    assert transcript.text.split() == [w.text for w in heard]


@pytest.mark.parametrize(
    ("length_s", "sessions"),
    [
        pytest.param(60, (1, 8), id="a minute"),
        pytest.param(600, (1, 8), id="ten minutes"),
        pytest.param(3600, (1, 8, 32), id="an hour", marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
        pytest.param(36_000, (1, 8, 32), id="ten hours", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]),
    ],
)
async def test_any_section_length_gives_the_same_words_and_times(
    tmp_path: Path, length_s: int, sessions: tuple[int, ...]
) -> None:
    words = list(speech(length_s - 1, seed=21))
    source = write_words(tmp_path / "speech.flac", words, 16000, FLAC, duration_s=length_s)
    starts = []
    async with tone_service() as service:
        for count in sessions:
            transcript = await transcribe(source, service, sessions=count)
            assert_said(transcript, words)
            assert transcript.coverage.complete
            assert len(transcript.coverage.sections) >= min(count, max(1, length_s // 75))
            starts.append([w.start for s in transcript.segments for w in s.words])
    off = max((abs(a - b) for row in starts[1:] for a, b in zip(starts[0], row, strict=True)), default=0.0)
    print(f"{len(words)} words, at most {off * 1000:.1f} ms apart")  # noqa: T201 - shown with -s
    assert off <= TIME_TOLERANCE_S
