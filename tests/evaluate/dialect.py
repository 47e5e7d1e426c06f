"""Measures how well the quality check of Cantonese transcripts finds written Chinese, English and mixed scripts.

A file has one sentence a line: its kinds, a tab, the text. The kinds are `cantonese`, `written`, `english` and
`mixed` (both Chinese scripts), or several of them joined by `+`. A folder stands for its `.txt` files. Each sentence is
assessed as a transcript of its own for which Cantonese was requested.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.transcript.model import Coverage, Segment
from worker.transcript.quality import QualityInputs, assess

SENTENCES = Path(__file__).parent / "dialect.txt"
KINDS: Final = ("cantonese", "written", "english", "mixed")
MIN_PRECISION: Final = 0.95
MIN_RECALL: Final = 0.8
_KIND_OF_CODE: Final = {"dialect": "written", "language": "english", "script": "mixed"}
_SECONDS_PER_CHARACTER: Final = 0.25
_COVERAGE: Final = Coverage(duration=0.0, sent=0.0, committed_until=0.0)


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Result:
    """The sentences of one kind and those that the check reports as this kind."""

    kind: str
    right: int
    missed: tuple[str, ...]
    false: tuple[str, ...]

    @property
    def sentences(self) -> int:
        return self.right + len(self.missed)

    @property
    def recall(self) -> float:
        return self.right / self.sentences if self.sentences else 1.0

    @property
    def precision(self) -> float:
        found = self.right + len(self.false)
        return self.right / found if found else 1.0

    @property
    def good(self) -> bool:
        return self.recall >= MIN_RECALL and self.precision >= MIN_PRECISION


def load(paths: Iterable[Path], *, min_characters: int = 0) -> list[Sentence]:
    """Return the sentences of files and folders. Raises ValueError for a line of another form."""
    return [s for path in paths for s in _sentences(path) if sum(map(str.isalnum, s.text)) >= min_characters]


def _sentences(path: Path) -> Iterator[Sentence]:
    for file in sorted(path.glob("*.txt")) if path.is_dir() else [path]:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            kinds, tab, text = line.partition("\t")
            if not tab or not set(kinds.split("+")) <= set(KINDS):
                raise ValueError(f"{file}, line {number}: expected a kind ({', '.join(KINDS)}), a tab and a text")
            yield Sentence(text.strip(), frozenset(kinds.split("+")))


def reported(text: str) -> frozenset[str]:
    """Return the kinds that the quality of a transcript of this text reports."""
    segment = Segment(text=text, start=0.0, end=max(1.0, len(text) * _SECONDS_PER_CHARACTER))
    quality = assess([segment], _COVERAGE, QualityInputs(language="yue"))
    return frozenset(_KIND_OF_CODE[reason.code] for reason in quality.reasons if reason.code in _KIND_OF_CODE)


def measure(sentences: Sequence[Sentence]) -> list[Result]:
    found = [(sentence, reported(sentence.text)) for sentence in sentences]
    return [
        Result(
            kind,
            right=sum(kind in sentence.kinds and kind in kinds for sentence, kinds in found),
            missed=tuple(s.text for s, kinds in found if kind in s.kinds and kind not in kinds),
            false=tuple(s.text for s, kinds in found if kind not in s.kinds and kind in kinds),
        )
        for kind in KINDS[1:]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.evaluate dialect", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("files", nargs="*", type=Path, default=[SENTENCES], help="files or folders of sentences")
    parser.add_argument("--min-characters", type=int, default=0, help="leave out sentences with fewer letters")
    parser.add_argument("--list", action="store_true", help="list the sentences that are missed or falsely reported")
    options = parser.parse_args(arguments)
    sentences = load(options.files, min_characters=options.min_characters)
    good = True
    for result in measure(sentences):
        good &= result.good
        sys.stdout.write(
            f"{result.kind:8}  {result.sentences:6d} sentences  precision {result.precision:.4f}  "
            f"recall {result.recall:.4f}  {len(result.false)} of {len(sentences) - result.sentences} others reported"
            f"  {'holds' if result.good else 'FAILS'}\n"
        )
        if options.list:
            sys.stdout.writelines(f"    missed: {text}\n" for text in result.missed)
            sys.stdout.writelines(f"    false:  {text}\n" for text in result.false)
    cantonese = [sentence for sentence in sentences if sentence.kinds == {"cantonese"}]
    flagged = sum(bool(reported(sentence.text)) for sentence in cantonese)
    sys.stdout.write(f"{flagged} of {len(cantonese)} sentences of Cantonese are reported\n")
    return 0 if good else 1
