"""The plans of channels that are streamed apart, each found by a pass of its own (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Final

from worker.audio.segmentation.scan import Scan
from worker.audio.segmentation.section_plan import CutOptions, StreamingPlan, plan_scan
from worker.audio.segmentation.silence import SkipOptions, speech_windows

NO_SOUND: Final = "holds nothing but silence, or a noise that never changes"


def plan_channels(
    found: Mapping[int, Scan], rate: int, cutting: CutOptions, skipping: SkipOptions | None, detector: str
) -> tuple[StreamingPlan, ...]:
    """A plan for each channel of `found` (from 0), in their order. One in which nothing can be speech has no section:
    all of it is skipped. The others share the sessions."""
    heard = {channel for channel, scan in found.items() if may_hold_speech(scan, skipping)}
    shared = replace(cutting, sessions=ceil(cutting.sessions / max(1, len(heard))))
    return tuple(
        _silent(scan, rate, channel)
        if skipping is None and channel not in heard
        else replace(plan_scan(scan, rate, shared, skipping, detector), channel=channel)
        for channel, scan in found.items()
    )


def may_hold_speech(found: Scan, skipping: SkipOptions | None) -> bool:
    """Whether anything of it is worth streaming: as it would be without `skipping`, by its level alone."""
    if skipping is None:
        found, skipping = replace(found, voice=None), SkipOptions()
    return bool(speech_windows(found, skipping).any())


def skip_reason(plan: StreamingPlan) -> str | None:
    """Why nothing of a channel was streamed; None where something was."""
    if plan.sections:
        return None
    return f"no speech was found in it ({plan.detector})" if plan.detector not in ("", "level") else NO_SOUND


def _silent(found: Scan, rate: int, channel: int) -> StreamingPlan:
    duration = found.samples(rate)
    return StreamingPlan(rate, duration, (), skipped=((0, duration),), channel=channel)
