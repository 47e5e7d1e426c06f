"""Measures the cost of planning sections, and of decoding alone, in s/h: `python -m tests.bench.plan FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.machine import cpu_s, tell
from worker.audio.decoding.decode import open_source
from worker.audio.segmentation.section_plan import CutOptions, plan
from worker.audio.segmentation.silence import SkipOptions
from worker.audio.segmentation.silero_model import silero


def main(path: str) -> None:
    detector = silero()
    with open_source(Path(path)) as source:
        costs = []
        for work in (
            lambda: sum(map(len, source.blocks())),
            lambda: plan(source, rate=16000, cutting=CutOptions(sessions=8)),
            lambda: plan(source, rate=16000, cutting=CutOptions(sessions=8), skipping=SkipOptions(), detector=detector),
        ):
            began = cpu_s()
            work()
            costs.append((cpu_s() - began) * 3600 / (source.frames_decoded / source.info.sample_rate))
    tell(
        {"decode": costs[0], "plan": costs[1], "plan_and_skip": costs[2], "detector": detector.name if detector else ""}
    )


if __name__ == "__main__":
    main(sys.argv[1])
