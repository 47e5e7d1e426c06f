"""Parts of the source that were neither sent nor skipped nor reported as missing."""

from __future__ import annotations

import pytest

from worker.audio.source import AudioInfo
from worker.transcript.document import RunFacts, unaccounted_ranges
from worker.transcript.model import SectionFacts, TimeRange

RATE = 16000


def facts(
    lengths_s: dict[str | None, float], sent_s: dict[str | None, float], skipped: tuple[TimeRange, ...] = ()
) -> RunFacts:
    """The facts of a run with one section per channel. `sent_s`: end of the section of each channel in seconds."""
    sections = tuple(
        SectionFacts(
            start=0,
            end=round(end_s * RATE),
            channel=name,
            sent=round(end_s * RATE),
            heard=0,
            committed=0,
            finished=True,
        )
        for name, end_s in sent_s.items()
    )
    return RunFacts(
        job_id="job", name="a.mkv", path="a.mkv", sha256="", size_bytes=1, info=AudioInfo(48000, 1, None, "MKV/OPUS"),
        duration_s=max(lengths_s.values()), channel_lengths_s=tuple(lengths_s.items()), warnings=(), language=None,
        speed=1.0, speed_reached=1.0, speed_falls=(), failures=(), wire_rate=RATE, sections=sections, channels=(),
        skipped=skipped, detector="", price_per_hour=0.0, missing=(), speech_share=None, endpoint="", sessions=(),
        session_options=(), sent_s=0.0, elapsed_s=1.0,
    )  # fmt: skip


def test_channels_of_different_lengths_are_accounted_for_up_to_their_own_ends() -> None:
    lengths_s: dict[str | None, float] = {"eng": 20.0, "yue": 20.05, "fra": 7.0}
    assert unaccounted_ranges(facts(lengths_s, lengths_s)) == ()


@pytest.mark.parametrize("channel", ["eng", "yue"])
def test_a_loss_at_the_end_of_each_channel_is_reported(channel: str) -> None:
    lengths_s: dict[str | None, float] = {"eng": 10.0, "yue": 20.0}
    sent_s = {**lengths_s, channel: lengths_s[channel] - 1.5}
    (gap,) = unaccounted_ranges(facts(lengths_s, sent_s))
    assert (gap.channel, gap.start, gap.end) == (channel, lengths_s[channel] - 1.5, lengths_s[channel])


def test_a_skipped_end_is_accounted_for() -> None:
    skipped = (TimeRange(start=4.0, end=10.0, channel="eng"),)
    assert unaccounted_ranges(facts({"eng": 10.0, "yue": 20.0}, {"eng": 4.0, "yue": 20.0}, skipped)) == ()
    (gap,) = unaccounted_ranges(facts({"eng": 11.0, "yue": 20.0}, {"eng": 4.0, "yue": 20.0}, skipped))
    assert (gap.channel, gap.start, gap.end) == ("eng", 10.0, 11.0)
