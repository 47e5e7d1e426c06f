"""Reads each container and codec, in each variant (`Shape`), as a job does. Checks all words with their times, and the
duration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from tests.matrix.gate import GATE
from tests.matrix.shapes import Case, Expected, cases, make
from tests.support import tones
from tests.support.node_env import missing
from tests.support.tones import ToneWord
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import wire_frames

_WITHIN_S = 0.03
_LOSSY_WITHIN_S = 0.06
_DURATION_WITHIN_S = 0.1
_NEVER = ("nothing after that", "which is implausible", "cut off or damaged")
_JOINED_S = 0.05
"""Seconds of silence that encoders add at the end of the first joined file and at the start of the second."""

ALL = list(cases())


SOME = [case for case in ALL if str(case) in GATE]


def test_the_matrix_is_large_enough() -> None:
    assert len(ALL) == len({str(case) for case in ALL}) >= 300
    assert len(SOME) == len(GATE) >= 40
    assert {case.container.tool for case in SOME} == {case.container.tool for case in ALL} - {"ffmpeg", "sox"}


@pytest.mark.parametrize("case", SOME, ids=str)
def test_some_files_of_the_matrix(case: Case, tmp_path: Path) -> None:
    _check(case, tmp_path)


@pytest.mark.matrix
@pytest.mark.parametrize("case", ALL, ids=str)
def test_all_files_of_the_matrix(case: Case, tmp_path: Path) -> None:
    _check(case, tmp_path)


def _check(case: Case, folder: Path) -> None:
    if case.container.tool in ("ffmpeg", "sox") and which(case.container.tool) is None:
        missing(f"needs the command {case.container.tool}")
    path, expected = make(case, folder)
    with open_source(path) as source:
        pcm = b"".join(wire_frames(source, 16000, 4000))
        duration_s, warnings = source.frames_decoded / source.info.sample_rate, source.warnings
    problems = [*_of_warnings(warnings, expected), *_of_words(tones.decode_pcm16(pcm), expected, case)]
    longer_s = duration_s - expected.duration_s
    if expected.at_least is None and not -_DURATION_WITHIN_S <= longer_s <= _DURATION_WITHIN_S + case.coding.frame_s:
        problems.append(f"lasts {duration_s:.3f} s, not {expected.duration_s:.3f} s")
    assert not problems, "; ".join([*problems, *warnings])


def _of_warnings(warnings: tuple[str, ...], expected: Expected) -> Iterator[str]:
    text = "; ".join(warnings).replace("which is implausible; the audio is joined there", "joined")
    if expected.one_of and not any(part in text for part in expected.one_of):
        yield "no warning of truncation"
    if warnings and not expected.may_warn:
        yield "warns without reason"
    if any(part in text for part in (_NEVER if expected.at_least is None else ())):
        yield "gives up, or warns of truncation"


def _of_words(found: list[ToneWord], expected: Expected, case: Case) -> Iterator[str]:
    words = list(expected.words)
    if expected.at_least is not None:
        if len(found) < expected.at_least:
            yield f"only the first {len(found)} words, not {expected.at_least}"
        words = words[: len(found)]
    if not case.coding.words:
        return
    if [word.number for word in found] != [word.number for word in words]:
        lost = {word.number for word in words} - {word.number for word in found}
        yield f"{len(found)} of {len(words)} words, {len(lost)} lost"
        return
    worst_s = max((b.start - a.start for a, b in zip(words, found, strict=True)), key=abs, default=0.0)
    within_s = _LOSSY_WITHIN_S if case.coding.lossy else _WITHIN_S
    if abs(worst_s) > within_s + _JOINED_S * (case.shape == "change"):
        yield f"a word is {worst_s * 1000:+.0f} ms off"
