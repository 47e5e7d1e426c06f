"""Decoded audio of compressed sources is limited: per job, per worker, and by the free space of the disk."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from worker.audio import decoded_disk_space
from worker.audio.channel_selection import ChannelSelection
from worker.audio.decoded_disk_space import STEP_BYTES, DecodedSpace, SpaceInUse, TooLarge
from worker.audio.recording import Recording, open_recording
from worker.audio.segmentation.section_plan import CutOptions
from worker.errors import WorkerShortage
from worker.pipeline.planning_thread import open_planned
from worker.settings import load

RATE = 16000
SECONDS, CHANNELS = 160, 2
DECODED = SECONDS * RATE * 2 * CHANNELS
"""Decoded size in bytes, 10 MB. The file itself is much smaller."""


@pytest.fixture(scope="module")
def ogg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ogg") / "channels.ogg"
    rng = np.random.default_rng(1)
    with soundfile.SoundFile(path, "w", 8000, CHANNELS, format="OGG", subtype="VORBIS") as file:
        for second in range(SECONDS):
            tone = np.sin(np.arange(8000) * 0.2) * 0.3 if second % 4 else np.zeros(8000)
            file.write(np.stack([tone * rng.uniform(0.5, 1) for _ in range(CHANNELS)], 1))
    assert path.stat().st_size < DECODED / 10
    return path


def opened(path: Path, space: DecodedSpace, made: Recording | None = None, channels: str = "split") -> Recording:
    return open_recording(
        path,
        RATE,
        cutting=CutOptions(sessions=8),
        selection=ChannelSelection("split" if channels == "split" else "mix"),
        earlier_plans=None if made is None else made.plans,
        progress=lambda _: None,
        space=space,
    )


def test_disk_space_is_reserved_while_the_job_runs(ogg: Path) -> None:
    space = DecodedSpace(1e9, 1e9, 0)
    with opened(ogg, space) as recording:
        assert DECODED * 0.95 < space.used_bytes < DECODED + STEP_BYTES
        assert len(recording.sections) > CHANNELS
        assert not recording.is_slow_to_reread
        recording.close()
        assert space.used_bytes == 0
    assert space.used_bytes == 0


@pytest.mark.parametrize("lying", [False, True])
def test_a_job_above_its_own_limit_is_streamed_without_decoded_audio(
    ogg: Path, lying: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lying:  # a header that promises less than there is
        monkeypatch.setattr(decoded_disk_space.JobSpace, "expect", lambda _self, _count: None)
    space = DecodedSpace(1e9, 5e6, 0)
    with opened(ogg, space) as recording:
        assert space.used_bytes == 0
        assert len(recording.sections) == CHANNELS
        assert recording.streamed_whole
        assert recording.is_slow_to_reread
        (warning,) = recording.warnings
    for part in (
        "streamed whole, in one section for each channel",
        "0.005 GB (STT_DECODED_JOB_MAX_GB)",
        "raise the limit",
    ):
        assert part in warning


async def test_a_plan_of_an_earlier_attempt_is_used_without_disk_space(ogg: Path) -> None:
    with opened(ogg, DecodedSpace(1e9, 1e9, 0)) as first, opened(ogg, DecodedSpace(1e9, 5e6, 0), made=first) as again:
        assert again.plans == first.plans
        number = len(first.sections) - 1
        feeds = [recording.feed(number, 4000) for recording in (first, again)]
        start = first.sections[number][1].start
        for feed in feeds:
            await feed.seek(start)
        frames = [[next(feed) for _ in range(3)] for feed in feeds]
        assert [(one.file_start, one.samples) for one in frames[0]] == [
            (one.file_start, one.samples) for one in frames[1]
        ]
        assert frames[0][0].file_start == start


def test_space_of_other_jobs_is_a_temporary_shortage(ogg: Path) -> None:
    space = DecodedSpace(20e6, 18e6, 0)
    with opened(ogg, space):
        with pytest.raises(WorkerShortage, match=r"channels\.ogg: cannot be decoded now: .*STT_DECODED_MAX_GB") as exc:
            opened(ogg, space)
        assert exc.value.retryable
    with opened(ogg, space) as later:
        assert not later.streamed_whole
    assert space.used_bytes == 0


def test_the_configured_free_space_of_the_disk_is_not_used(ogg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=300_000_000))
    with opened(ogg, DecodedSpace(1e9, 1e9, 250e6)) as enough:
        assert not enough.streamed_whole
    with opened(ogg, DecodedSpace(1e9, 1e9, 290e6)) as too_little:
        assert too_little.streamed_whole
        assert "STT_DISK_FREE_GB" in " ".join(too_little.warnings)


async def test_the_settings_of_a_worker_bound_the_space(ogg: Path) -> None:
    settings = load({}, decoded_job_max_gb=0.005)
    with await open_planned(ogg, settings, 8, False, None, ChannelSelection("split")) as recording:
        assert recording.streamed_whole
    with await open_planned(ogg, load({}), 8, False, None, ChannelSelection("split")) as recording:
        assert not recording.streamed_whole


def test_shares_of_many_threads_add_up() -> None:
    space = DecodedSpace(100e6, 100e6, 0)
    shares = [space.for_job() for _ in range(4)]
    for share in shares:
        share.take(1_000_000)
    shares[0].take(20_000_000)
    with pytest.raises(SpaceInUse):
        shares[1].take(40_000_000)
    with pytest.raises(TooLarge):
        space.for_job().expect(100e6 + 1)
    for share in shares:
        share.release()
        share.release()
    assert space.used_bytes == 0
    with pytest.raises(OSError, match="STT_DISK_FREE_GB") as full:
        DecodedSpace(1e18, 1e18, 1e18).for_job().expect(1)
    assert full.value.errno == errno.ENOSPC


def test_missing_space_is_detected_before_decoding(ogg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> Callable[[], None]:
        raise AssertionError("decoded")

    monkeypatch.setattr("worker.audio.pcm_spool.PcmSpool.fill", decode)
    with opened(ogg, DecodedSpace(1e12, 5e6, 0)) as recording:
        assert recording.streamed_whole
