"""False changes of a glossary in real sentences.

A file has one sentence a line. If its words are separated by `|`, a correction is false if it does not begin and end at
the border of a word. A file without any `|` has sentences without the terms: each correction is false.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tasks.glossary_file import read_glossary
from worker.transcript.glossary import Glossary
from worker.transcript.model import Segment
from worker.transcript.subtitles.chinese_words import is_word, word_begins


@dataclass(frozen=True, slots=True)
class Found:
    """A correction in a sentence."""

    text: str
    begin: int
    end: int
    false: bool

    def __str__(self) -> str:
        return f"{self.text[: self.begin]}[{self.text[self.begin : self.end]}]{self.text[self.end :]}"


def corrections(glossary: Glossary, line: str, *, divided: bool) -> Iterator[Found]:
    """Yield the corrections in a line. `divided`: whether `|` separates its words."""
    text = line.replace("|", "") if divided else line
    borders = {0, *accumulate(len(word) for word in line.split("|"))} if divided else set()
    shift = 0
    for one in glossary.correct(Segment(text=text, start=0, end=1)).corrections:
        begin = one.position - shift
        shift += len(one.wanted) - len(one.heard)
        end = begin + len(one.heard)
        yield Found(text, begin, end, false=not {begin, end} <= borders)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.evaluate glossary", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("glossary", type=Path, help="file of heard and wanted terms")
    parser.add_argument("files", nargs="+", type=Path, help="files of sentences")
    options = parser.parse_args(arguments)
    glossary = Glossary(read_glossary(options.glossary), word_begins, is_word)
    found, count = [], 0
    for path in options.files:
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.split("\n") if line.strip()]
        count += len(lines)
        found += [one for line in lines for one in corrections(glossary, line, divided="|" in text)]
    false = [one for one in found if one.false]
    sys.stdout.writelines(f"    false: {one}\n" for one in false)
    sys.stdout.write(f"{count} sentences, {len(found) - len(false)} right corrections, {len(false)} false\n")
    return 1 if false else 0
