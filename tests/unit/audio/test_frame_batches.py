"""Batches of decoded frames: only frames whose timestamps continue each other are joined."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from worker.audio.decoding.ffmpeg_samples import MAX_PLANES, FramePacker
from worker.audio.decoding.frame_batches import MIN_BATCH_S, SETTLE_S, FrameBatch, in_batches
from worker.audio.decoding.media_items import DecodedFrame, LostPacket

RATE = 48000
FRAME_S = 0.02


def frame(start_s: float | None, rate: int = RATE) -> DecodedFrame:
    own = SimpleNamespace(
        format=SimpleNamespace(name="fltp"),
        layout=SimpleNamespace(name="stereo"),
        sample_rate=rate,
        samples=round(FRAME_S * rate),
    )
    return DecodedFrame(own, start_s)


def steady(begin_s: float, seconds: float) -> list[DecodedFrame]:
    return [frame(begin_s + n * FRAME_S) for n in range(round(seconds / FRAME_S))]


def lengths(items: list[Any]) -> list[int]:
    return [len(batch.frames) for batch in in_batches(items) if isinstance(batch, FrameBatch)]


def test_frames_are_joined_after_a_second_without_a_jump() -> None:
    singles, joined = round(SETTLE_S / FRAME_S), round(MIN_BATCH_S / FRAME_S + 0.5)
    assert lengths(steady(5.0, 3.0))[: singles + 3] == [1] * singles + [joined] * 3


def test_each_frame_comes_once_in_order_with_its_timestamp() -> None:
    items = steady(0.0, 3.0)
    batches = [batch for batch in in_batches(items) if isinstance(batch, FrameBatch)]
    assert [own for batch in batches for own in batch.frames] == [item.frame for item in items]
    at = 0
    for batch in batches:
        assert batch.start_s == pytest.approx(at / RATE)
        at += batch.samples


@pytest.mark.parametrize(
    "after",
    [
        pytest.param([frame(3.05)], id="gap"),
        pytest.param([frame(2.9)], id="overlap"),
        pytest.param([frame(3.0, 44100)], id="other rate"),
        pytest.param([frame(None)], id="no timestamp"),
        pytest.param([LostPacket(3.0, 0.02, "bad data"), frame(3.02)], id="lost packet"),
    ],
)
def test_a_batch_ends_where_frames_do_not_continue_each_other(after: list[Any]) -> None:
    found = list(in_batches([*steady(0.0, 3.0), *after, frame(9.0)]))
    last = [batch for batch in found if isinstance(batch, FrameBatch)][-2:]
    assert [len(batch.frames) for batch in last] == [1, 1]
    assert last[0].start_s == after[-1].start_s
    assert [item for item in found if isinstance(item, LostPacket)] == [a for a in after if isinstance(a, LostPacket)]


def test_timestamps_that_are_rounded_to_milliseconds_are_joined() -> None:
    frame_s = 1024 / 44100
    items = []
    for number in range(200):
        own = frame(round(number * frame_s, 3), 44100).frame
        own.samples = 1024
        items.append(DecodedFrame(own, round(number * frame_s, 3)))
    assert max(lengths(items)) > 5


@pytest.mark.parametrize("channels", [2, MAX_PLANES])
def test_planes_of_several_frames_become_columns(channels: int) -> None:
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((3, channels, 16)).astype(np.float32)
    frames = [
        SimpleNamespace(
            layout=SimpleNamespace(nb_channels=channels),
            format=SimpleNamespace(name="fltp", is_planar=True),
            samples=10,
            planes=[bytes(plane) for plane in own],
        )
        for own in planes
    ]
    expected = np.concatenate([own[:, :10].T for own in planes])
    np.testing.assert_array_equal(FramePacker(pytest.fail)(frames), expected)
