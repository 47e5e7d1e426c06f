"""The cases of the matrix: each container and codec, with each suitable variant of the file (`Shape`), and the expected
result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np

from tests.matrix.kinds import CONTAINERS, Coding, Container
from tests.matrix.write import write
from tests.support import tones
from tests.support.tones import ToneWord

Shape = Literal["plain", "late", "hole", "change", "cut", "misnamed", "unknown"]

DURATION_S: Final = 6.0
LATE_S: Final = 2.0
HOLE_S: Final = 0.5
_CUT: Final = 0.6
_WORDS: Final = tuple(tones.speech(DURATION_S - 0.4, seed=3))
_WRONG: Final = {"mp3": "wav", "wav": "mp3"}


@dataclass(frozen=True, slots=True)
class Case:
    container: Container
    coding: Coding
    shape: Shape

    def __str__(self) -> str:
        muxer = "" if self.container.muxer == self.container.tool else f"{self.container.muxer}-"
        return f"{self.container.tool}-{muxer}{self.container.ending}-{self.coding.encoder}-{self.shape}"


@dataclass(frozen=True, slots=True)
class Expected:
    words: tuple[ToneWord, ...]
    duration_s: float
    may_warn: bool = False
    one_of: tuple[str, ...] = ()
    """Texts, one of which must be part of a warning."""
    at_least: int | None = None
    """For a truncated file, the minimum number of words from the start, or None for complete files."""


def cases() -> Iterator[Case]:
    for container in CONTAINERS:
        for coding in container:
            for shape in _shapes(container, coding):
                yield Case(container, coding, shape)


def _shapes(container: Container, coding: Coding) -> Iterator[Shape]:
    yield "plain"
    # A voice codec changes the tones that stand for words. So the words of its files cannot be recognized, and only the
    # duration of a plain file can be compared.
    if not coding.words:
        return
    yield "misnamed"
    if container.cuts is not None and not _has_index_at_end(container, coding):
        yield "cut"
    if container.tool != "pyav":
        return
    if container.picture and container.holes and not container.must_picture:
        # This shape also has video. In a file with audio only, players start with the audio, so it would not be late.
        yield "late"
    if container.holes and coding.encoder != "wavpack" and not _without_times(container, coding):
        yield "hole"
    if container.joins:
        yield "change"
    if container.unknown is not None:
        yield "unknown"


def _has_index_at_end(container: Container, coding: Coding) -> bool:
    """Whether a truncated file is refused, because it cannot be read without the index at its end."""
    return container.muxer == "wtv" or (container.muxer == "caf" and not coding.encoder.startswith("pcm_"))


def _without_times(container: Container, coding: Coding) -> bool:
    return container.muxer in ("mp4", "mov") and coding.encoder.startswith(("pcm_", "adpcm_"))


def _has_wandering_times(container: Container, coding: Coding) -> bool:
    """Whether FFmpeg's timestamps differ from the samples. For PCM in a program stream, they differ by up to 10 ms."""
    return container.muxer in ("mpeg", "vob") and coding.encoder.startswith("pcm_")


def make(case: Case, folder: Path) -> tuple[Path, Expected]:
    """Write the case's file below `folder`."""
    container, coding, shape = case.container, case.coding, case.shape
    path = folder / f"a.{container.ending}"
    signal, pause_s = _signal(coding.rate), _pause_s()
    may_warn = shape not in ("plain", "misnamed") or _has_wandering_times(container, coding)
    expected = Expected(_WORDS, DURATION_S, may_warn=may_warn)
    if shape == "late":
        write(path, signal, container, coding, late_s=LATE_S)
        expected = replace(expected, words=_moved(LATE_S), duration_s=DURATION_S + LATE_S)
    elif shape == "hole":
        write(path, signal, container, coding, hole=(round(pause_s * coding.rate), HOLE_S))
        expected = replace(expected, words=_moved(HOLE_S, after_s=pause_s), duration_s=DURATION_S + HOLE_S)
    elif shape == "change":
        _join(path, container, coding, pause_s)
    elif shape == "unknown":
        write(path, signal, container, coding, piped=True, options=container.unknown)
    elif shape == "cut":
        write(path, signal, container, coding, options=container.cuts)
        data = path.read_bytes()
        path.write_bytes(data[: round(len(data) * _CUT)])
        least = sum(word.end < DURATION_S * _CUT - 2.0 for word in _WORDS)
        one_of = ("cut off", "damaged", "end mark") if container.says_length else ()
        expected = replace(expected, at_least=least, one_of=one_of)
    else:
        write(path, signal, container, coding)
        if shape == "misnamed":
            path = path.rename(path.with_suffix(f".{_WRONG.get(container.ending, 'mp3')}"))
    return path, expected


@cache
def _signal(rate: int) -> np.ndarray:
    signal = tones.encode(_WORDS, rate, duration_s=DURATION_S)
    signal.setflags(write=False)
    return signal


def _pause_s() -> float:
    """Second of the middle of the longest pause."""
    gaps = [(b.start - a.end, (a.end + b.start) / 2) for a, b in pairwise(_WORDS)]
    return max(gaps)[1]


def _moved(by_s: float, after_s: float = 0.0) -> tuple[ToneWord, ...]:
    return tuple(replace(word, start=word.start + by_s * (word.start >= after_s)) for word in _WORDS)


def _join(path: Path, container: Container, coding: Coding, at_s: float) -> None:
    """Joins a first part with a second one of another rate, or of other channels if the codec has a single rate."""
    first = write(path.with_stem("1"), _signal(coding.rate)[: round(at_s * coding.rate)], container, coding)
    other = replace(coding, rate=coding.second)
    if coding.second == coding.rate:
        other = replace(coding, channels=3 - coding.channels)
    second = write(path.with_stem("2"), _signal(other.rate)[round(at_s * other.rate) :], container, other)
    path.write_bytes(first.read_bytes() + second.read_bytes())
