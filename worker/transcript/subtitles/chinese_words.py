"""Divides Chinese text into the sequence of words that is most frequent in the lexicon. Reads no file except the
lexicon."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import inf
from typing import Final

from worker.transcript.subtitles.chinese_lexicon import candidates
from worker.transcript.subtitles.hong_kong_places import NAMES

_HAN_RUN: Final = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_UNKNOWN: Final = 18.0
"""Cost of a character that is not in the lexicon."""
_EXTRA: Final = 3.5
"""Cost of each word in addition to its frequency. It makes compounds win over their parts: 雲吞麵, 茶餐廳."""
# Words that subtitles write together, but that the lexicon does not contain or divides into two words. The longest
# words come first.
_PATTERNS: Final = re.compile(
    "(.)唔\\1|(.)[唔冇]\\2(?=.)|[呢嗰邊每][個隻位件部次度日邊啲排款條層份間張架陣年家批種]|[今上下前後頭]個|"
    "[呢嗰]一?[個次位]|[幾好][多少耐]|尋日|琴日|寧舍|[我你佢]哋|係咪|有冇|將會|雲吞麵|入境事務處|[想要會][少多]|凍檸[茶蜜]|凍奶茶|熱檸[茶蜜]|[真都就仲又]係|壞車|車龍|錄影片段|支援部|"
    + "|".join(NAMES)
)


def word_begins(text: str, fixed: Sequence[tuple[int, int]] = ()) -> Iterator[int]:
    """Yield the indices at which a word begins in a text. Each character that is not a Chinese (Han) character is a
    word by itself.

    `fixed`: spans of words that are already known, in order. No other word extends across the start or end of such a
    span."""
    known = {at for begin, end in fixed for at in range(begin, end)}
    yield from (begin for begin, _ in fixed)
    done = 0
    for run in _HAN_RUN.finditer(text):
        yield from (at for at in range(done, run.start()) if at not in known)
        begin = run.start()
        for at in range(run.start(), run.end() + 1):
            if at == run.end() or at in known:
                yield from (begin + k for k in _begins(text[begin:at]))
                begin = at + 1
        done = run.end()
    yield from (at for at in range(done, len(text)) if at not in known)


def is_word(text: str) -> bool:
    """Whether a text is one word of the lexicon, or a name of Hong Kong."""
    return text in NAMES or any(candidate.begin == 0 and candidate.end == len(text) for candidate in candidates(text))


@lru_cache(maxsize=1024)
def _begins(run: str) -> tuple[int, ...]:
    """Return the indices at which the words of a run of Han characters begin."""
    if len(run) < 2:
        return tuple(range(len(run)))
    costs, froms = [0.0, *([inf] * len(run))], [0] * (len(run) + 1)
    choices: list[list[tuple[int, float]]] = [[(at + 1, _UNKNOWN)] for at in range(len(run))]
    for begin, end, cost in candidates(run):
        choices[begin].append((end, cost))
    for match in _PATTERNS.finditer(run):
        choices[match.start()].append((match.end(), 6.0))
    for begin, options in enumerate(choices):
        for end, cost in options:
            total = costs[begin] + cost + _EXTRA
            if total < costs[end]:
                costs[end], froms[end] = total, begin
    found, at = [], len(run)
    while at:
        at = froms[at]
        found.append(at)
    return tuple(reversed(found))
