"""Joins consecutive decoded frames into batches. No I/O.

An AAC frame lasts 23 ms, an Opus frame 20 ms. Each step after the decoder costs some microseconds per array. Decoding
and resampling an hour of AAC took 18 CPU seconds with single frames, and takes 7 with batches of a second.

Only frames whose timestamps continue each other are joined, because `StreamTimeline` corrects gaps and drift between
blocks. After a jump, and at the start, frames stay single until the timeline has corrected the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from worker.audio.decoding.media_items import DecodedFrame, LostPacket

MIN_BATCH_S: Final = 0.25
MAX_BATCH_S: Final = 1.0
"""Length of a batch. The timeline reads four batches ahead, so long batches need memory in each live session."""
SETTLE_S: Final = 1.0
"""Seconds without a jump after which frames are joined. The timeline reads 0.12 s ahead."""
MAX_JITTER_S: Final = 0.0011
"""Maximum difference between the timestamp of a frame and the end of the frames before it. Matroska rounds timestamps
to milliseconds, so two of them may differ by a millisecond."""


class FrameBatch(NamedTuple):
    """Frames of PyAV with the same format, which continue each other. `start_s`: see `DecodedFrame`."""

    start_s: float | None
    frames: list[Any]
    samples: int
    """Number of samples of all frames, per channel."""


def in_batches(
    items: Iterable[DecodedFrame | LostPacket], batch_s: float = MIN_BATCH_S
) -> Iterator[FrameBatch | LostPacket]:
    """Yield the frames of `items` in batches, and the lost packets unchanged, in order. `batch_s`: length of a batch
    that is complete.

    Frames without a timestamp are not joined: the timeline reads up to 64 such blocks ahead."""
    frames: list[Any] = []
    begin_s, samples, rate = 0.0, 0, 1
    kind: object = None
    expected_s: float | None = None  # end of the last frame, or None if it had no timestamp
    steady_s = 0.0  # length of the audio since the last jump, without that in `frames`
    for item in items:
        if isinstance(item, LostPacket):
            if frames:
                yield FrameBatch(begin_s, frames, samples)
                frames, samples = [], 0
            expected_s = None
            yield item
            continue
        frame, start_s = item
        own_kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if start_s is None or expected_s is None or own_kind != kind or abs(start_s - expected_s) > MAX_JITTER_S:
            if frames:
                yield FrameBatch(begin_s, frames, samples)
                frames, samples = [], 0
            kind, rate, steady_s = own_kind, frame.sample_rate, 0.0
        if start_s is None:
            expected_s = None
            yield FrameBatch(None, [frame], frame.samples)
            continue
        if not frames:
            begin_s = start_s
        frames.append(frame)
        samples += frame.samples
        expected_s = begin_s + samples / rate
        if samples >= batch_s * rate or steady_s < SETTLE_S:
            yield FrameBatch(begin_s, frames, samples)
            steady_s += samples / rate
            frames, samples = [], 0
    if frames:
        yield FrameBatch(begin_s, frames, samples)
