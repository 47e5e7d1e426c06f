"""Compares bad line breaks in Cantonese subtitles: those of this project with those of BudouX.

A file of marked sentences has one sentence per line. `|` marks a good position for a break, and `/` a weak position. An
editor would not break at any other position. A cue is bad if one of its lines ends at a position without a mark.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import budoux

from worker.transcript.model import Coverage, Segment, Source, Transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.cue_timing import cues
from worker.transcript.subtitles.style import Preset, Style
from worker.transcript.subtitles.text_units import columns

SENTENCES = Path(__file__).parent / "breaks.txt"
PRESETS: tuple[Preset, ...] = ("plain", "netflix-zh-hant")
MAX_BAD_PERCENT = {True: 7.0, False: 10.0}
"""Limit with and without punctuation."""
CHARACTERS_PER_S = 4.5
_SIGNS = re.compile(r"[，。！？、；：,;:!?]+(?!\d)")
_COLUMNS = 32

Layout = Callable[[str], list[list[str]]]


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence without its break marks, and the numbers of visible characters after which a line may end."""

    text: str
    allowed: frozenset[int]


@dataclass(frozen=True, slots=True)
class Result:
    cues: int
    bad: tuple[str, ...]
    """The bad cues, with ⏎ for a line break and the next line after ▸."""

    @property
    def percent(self) -> float:
        return 100 * len(self.bad) / self.cues if self.cues else 0.0


def load(path: Path, *, punctuated: bool) -> list[Marked]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [marked(line, punctuated=punctuated) for line in lines if line and not line.startswith("#")]


def marked(line: str, *, punctuated: bool = True) -> Marked:
    if not punctuated:
        line = _SIGNS.sub("", line)
    allowed, text, visible = set(), "", 0
    for char in line:
        if char in "|/":
            allowed.add(visible)
        else:
            text += char
            visible += not char.isspace()
    return Marked(text, frozenset(allowed))


def measure(sentences: Sequence[Marked], layout: Layout) -> Result:
    total, bad = 0, []
    for sentence in sentences:
        found = layout(sentence.text)
        total += len(found)
        visible = "".join(sentence.text.split())
        at, flat = 0, [line for lines in found for line in lines]
        following = iter([*flat[1:], ""])
        for lines in found:
            wrong = False
            for line in lines:
                at = _after(visible, at, "".join(line.split()))
                wrong |= at < len(visible) and not _allowed(visible, at, sentence.allowed)
                after = next(following)
            if wrong:
                bad.append("⏎".join(lines) + f" ▸ {after}")
    return Result(total, tuple(bad))


def _after(visible: str, at: int, line: str) -> int:
    """Return the index in the sentence after a line. The line may lack punctuation of the sentence."""
    for char in line:
        at = visible.index(char, at) + 1
    return at


def _allowed(visible: str, at: int, allowed: frozenset[int]) -> bool:
    """Whether a break mark is at the index, or after the punctuation that follows the index and that the preset
    removes."""
    while at not in allowed and at < len(visible) and visible[at] in "，。；、,":
        at += 1
    return at in allowed or at == len(visible)


def ours(preset: Preset) -> Layout:
    def layout(text: str) -> list[list[str]]:
        segment = Segment(text=text, start=0, end=len(text) / CHARACTERS_PER_S)
        return [list(cue.lines) for cue in cues(_transcript(segment), Style(preset=preset))]

    return layout


def peer() -> Layout:
    """Lay out sentences with BudouX, the segmenter of Chrome and Android. Its phrases are put into lines of at most 16
    characters, with two lines per cue."""
    parser = budoux.load_default_traditional_chinese_parser()

    def layout(text: str) -> list[list[str]]:
        lines = [""]
        for phrase in parser.parse(tidy(text)):
            if lines[-1] and columns(lines[-1] + phrase) > _COLUMNS:
                lines.append("")
            lines[-1] += phrase
        return [lines[at : at + 2] for at in range(0, len(lines), 2)]

    return layout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.evaluate breaks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("files", nargs="*", type=Path, default=[SENTENCES], help="files of marked sentences")
    parser.add_argument("--quiet", action="store_true", help="do not list the bad breaks")
    options = parser.parse_args(arguments)
    layouts = [(preset, ours(preset), True) for preset in PRESETS] + [("BudouX, lines filled", peer(), False)]
    good = True
    for path in options.files:
        for punctuated in (True, False):
            sentences = load(path, punctuated=punctuated)
            for name, layout, limited in layouts:
                found = measure(sentences, layout)
                holds = not limited or found.percent <= MAX_BAD_PERCENT[punctuated]
                good &= holds
                signs = "punctuated" if punctuated else "unpunctuated"
                verdict = "" if not limited else "  holds" if holds else "  FAILS"
                sys.stdout.write(
                    f"{path.name}  {signs:12}  {name:20}  {len(found.bad):3d} of {found.cues:3d} cues bad"
                    f"  {found.percent:5.1f} %{verdict}\n"
                )
                if limited and not options.quiet:
                    sys.stdout.writelines(f"    {cue}\n" for cue in found.bad)
    return 0 if good else 1


def _transcript(segment: Segment) -> Transcript:
    return Transcript(
        job_id="breaks",
        text=segment.text,
        segments=(segment,),
        source=Source(
            name="a.wav", path="a.wav", sha256="", size_bytes=0, duration=segment.end, sample_rate=16000, channels=1,
            format="WAV",
        ),
        coverage=Coverage(duration=segment.end, sent=segment.end, committed_until=segment.end),
        speed="1",
        created_at="2026-01-01T00:00:00+00:00",
        elapsed=1,
        endpoint="http://127.0.0.1",
    )  # fmt: skip
