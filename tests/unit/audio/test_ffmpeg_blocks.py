"""Blocks of a media container: the silence that replaces packets without audio."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from worker.audio.decoding import ffmpeg_blocks
from worker.audio.decoding.ffmpeg_blocks import MAX_LOST_PACKET_S, MediaBlocks
from worker.audio.decoding.media_items import LostPacket

RATE = 16000


@pytest.mark.parametrize(
    ("declared_s", "silence_s"),
    [(0.0, 0.0), (0.25, 0.25), (MAX_LOST_PACKET_S, MAX_LOST_PACKET_S), (60.0, 0.0), (67000.0, 0.0), (1e9, 0.0)],
)
def test_a_damaged_packet_length_does_not_become_hours_of_silence(
    declared_s: float, silence_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = LostPacket(start_s=1.0, duration_s=declared_s, reason="bad data")
    monkeypatch.setattr(ffmpeg_blocks, "frames_through_changes", lambda _: iter([lost]))
    opened: Any = SimpleNamespace(without_edits=False, info=SimpleNamespace(sample_rate=RATE), make_joiner=None)
    (block,) = MediaBlocks(opened, None, pytest.fail)
    assert (block.start_s, block.lost) == (1.0, "bad data")
    np.testing.assert_array_equal(block.samples, np.zeros(round(silence_s * RATE), np.float32))
