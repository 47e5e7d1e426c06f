"""Text as it is set: Chinese without spaces, Latin words in it with them (pure).

The way Hong Kong subtitles are set: `我 send 咗個 email 俾你`, `共300張`, `2011年8月`. A space between two Chinese
clauses that stands for a comma stays.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

CLOSING: Final = frozenset("。，、；：？！…—～·）」』】》〉〕”’％℃%)]}!?,.;:")
"""Never at the start of a line."""
OPENING: Final = frozenset("（「『【《〈〔“‘([{")
"""Never at the end of a line."""

_CLINGING: Final = frozenset(("Mn", "Mc", "Me", "Cf"))
"""Unicode categories of what is drawn onto the character before it."""
_HAN: Final = (
    "\u2e80-\u2fff\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WIDE_SIGNS: Final = "\u3000-\u3004\u3008-\u3020\u302a-\u303f\ufe30-\ufe4f\uff00-\uffef"
_HANGUL: Final = "\uac00-\ud7af"
_IS_HAN: Final = re.compile(f"[{_HAN}]")
_IS_WIDE_SIGN: Final = re.compile(f"[{_WIDE_SIGNS}]")
_IS_CJK: Final = re.compile(f"[{_HAN}{_WIDE_SIGNS}{_HANGUL}]")
# Hangul is not here: Korean has spaces between its words.
_RUNS: Final = re.compile(f"[{_HAN}{_WIDE_SIGNS}]+|[^{_HAN}{_WIDE_SIGNS}]+")
_CLAUSE_SPACE: Final = re.compile(f"(?<=[{_HAN}]) (?=[{_HAN}])")
_CLAUSE: Final = 3
"""Characters between two spaces, on average, from which on these separate clauses and not words."""
_NUMBER: Final = re.compile(r"[^\w\s]*\d[\d.,:/%-]*[^\w\s]*")


def is_cjk(char: str) -> bool:
    """Han, kana, hangul and full-width signs: text that may break between any two characters."""
    return _IS_CJK.match(char) is not None


def may_break(before: str, after: str) -> bool:
    """A line may end between two characters that touch: beside CJK text, and not where punctuation would come loose."""
    if not (is_cjk(before) or is_cjk(after)):
        return False
    return before not in OPENING and after not in CLOSING and unicodedata.category(after) not in _CLINGING


def tidy(text: str) -> str:
    """One line, set as above; no control characters, no space at either end. Tidy text stays as it is."""
    visible = "".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc")
    plain = " ".join(visible.split())
    han = len(_IS_HAN.findall(plain))
    keeps = han >= _CLAUSE * (len(_CLAUSE_SPACE.findall(plain)) + 1)
    if not han:
        return plain
    runs = list(_runs(plain))
    spaced = [runs[0][0]]
    for (before, _), (after, gap) in pairwise(runs):
        spaced.append(_gap(before, after, gap, keeps=keeps) + after)
    return "".join(spaced)


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Stretches of one kind, Chinese or not, and the gap before each."""
    for chunk in text.split(" "):
        for index, run in enumerate(_RUNS.findall(chunk)):
            yield run, "" if index else " "


def _gap(before: str, after: str, gap: str, *, keeps: bool) -> str:
    left, right = _kind(before[-1]), _kind(after[0])
    if "sign" in (left, right):
        return ""
    if left == right == "han":
        return gap if keeps else ""
    if left == right:
        return gap
    other = after if left == "han" else before
    if _NUMBER.fullmatch(other):
        return ""
    # A letter alone is part of a Chinese word (T恤, K歌) or a name (A 君): as it was written.
    return " " if sum(c.isalnum() for c in other) > 1 else gap


def _kind(char: str) -> str:
    if _IS_HAN.match(char):
        return "han"
    return "sign" if _IS_WIDE_SIGN.match(char) else "other"
