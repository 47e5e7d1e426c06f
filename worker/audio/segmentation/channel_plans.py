"""Plans the sections of channels that are streamed separately. Each channel has its own scan. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Final

from worker.audio.segmentation.scan import Scan
from worker.audio.segmentation.section_plan import CutOptions, StreamingPlan, plan_scan
from worker.audio.segmentation.silence import SkipOptions, speech_windows

NO_SOUND: Final = "contains only silence, or a constant noise"


def plan_channels(
    found: Mapping[int, Scan], rate: int, cutting: CutOptions, skipping: SkipOptions | None, detector: str
) -> tuple[StreamingPlan, ...]:
    """Create a plan for each channel in `found` (keys from 0), in their order.

    A channel that cannot contain speech has no section and is skipped completely. The other channels share the sessions
    of `cutting`. `detector`: name of the speech detector, stored in the plans."""
    heard = {channel for channel, scan in found.items() if may_hold_speech(scan, skipping)}
    shared = replace(cutting, sessions=ceil(cutting.sessions / max(1, len(heard))))
    return tuple(
        _silent(scan, rate, channel)
        if skipping is None and channel not in heard
        else replace(plan_scan(scan, rate, shared, skipping, detector), channel=channel)
        for channel, scan in found.items()
    )


def may_hold_speech(found: Scan, skipping: SkipOptions | None) -> bool:
    """Whether a channel may contain speech. Without `skipping`, only the level is used, not the detector's
    probabilities."""
    if skipping is None:
        found, skipping = replace(found, voice=None), SkipOptions()
    return bool(speech_windows(found, skipping).any())


def skip_reason(plan: StreamingPlan) -> str | None:
    """Return the reason why a channel was skipped completely, or None if it was streamed."""
    if plan.sections:
        return None
    return f"no speech was found in it ({plan.detector})" if plan.detector not in ("", "level") else NO_SOUND


def _silent(found: Scan, rate: int, channel: int) -> StreamingPlan:
    duration = found.samples(rate)
    return StreamingPlan(rate, duration, (), skipped=((0, duration),), channel=channel)
