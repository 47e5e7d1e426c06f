"""Corrects the spaces in text with Chinese. There is no space between Chinese characters, and one space before and
after Latin words. No I/O.

The rules are those of Hong Kong subtitles: `我 send 咗個 email 俾你`, `共300張`, `2011年8月`. A space that separates
two Chinese clauses in place of a comma is not removed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

CLOSING: Final = frozenset(
    "。，、；：？！…⋯—–～〜·‧•・／）」』】》〉〕］｝〗〙｠”’％℃℉°‰%)]}!?,.;:々〻ゝゞヽヾー｡､･，．：；！？＞"
    "﹐﹑﹒﹔﹕﹖﹗﹘﹚﹜﹞﹣﹪"  # small form variants
)
"""Characters that must not start a line."""
OPENING: Final = frozenset("（「『【《〈〔［｛〖〘｟“‘([{＜＄￥￡$¥€£#＃﹙﹛﹝﹟﹩")
"""Characters that must not end a line."""

_HAN: Final = (
    "\u2e80-\u2fff\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WIDE_SIGNS: Final = "\u3000-\u3004\u3008-\u3020\u302a-\u303f\ufe30-\ufe4f\ufe50-\ufe6f\uff00-\uffef"
_HANGUL: Final = "\uac00-\ud7af"
_IS_HAN: Final = re.compile(f"[{_HAN}]")
_IS_WIDE_SIGN: Final = re.compile(f"[{_WIDE_SIGNS}]")
_IS_CJK: Final = re.compile(f"[{_HAN}{_WIDE_SIGNS}{_HANGUL}]")
# Hangul is treated as other text in this pattern, because Korean has spaces between its words.
_RUNS: Final = re.compile(f"[{_HAN}{_WIDE_SIGNS}]+|[^{_HAN}{_WIDE_SIGNS}]+")
_CLAUSE_SPACE: Final = re.compile(f"(?<=[{_HAN}]) (?=[{_HAN}])")
_MIN_CLAUSE: Final = 3
"""If a text has on average at least this many characters between two spaces, its spaces separate clauses, not words."""
INVISIBLE: Final = frozenset(
    "\u00ad\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069"
    "\u206a\u206b\u206c\u206d\u206e\u206f\ufeff\ufff9\ufffa\ufffb"
)
"""Characters that change the direction of text or are not visible. Joiners stay, because emoji consist of them."""
_ENDS_PHRASE: Final = re.compile(
    "(?:[呀啊喇啦㗎喎囉咩吖噃啫咋囖嘛吧嗎嘞]|唔該晒?|多謝晒?|再見|拜拜|早晨|你好|早抖|好嘅|係嘅|得嘅|唔係|係咪|冇問題|唔緊要"
    "|唔使客氣|唔好意思|對唔住|唔該|明白|收到|知道|好的|谢谢|謝謝|再见|对唔住|唔该晒?)$"
)
"""The end of a phrase that stands alone. A space after it is a boundary, not a space between two words."""
_NUMBER: Final = re.compile(r"[^\w\s]*\d[\d.,:/%-]*[^\w\s]*")


def is_cjk(char: str) -> bool:
    """Whether a character is Han, kana, Hangul or full-width punctuation, so that a line may break next to it."""
    return _IS_CJK.match(char) is not None


def tidy(text: str) -> str:
    """Return the text in one line with corrected spaces. Spaces at the ends, control characters and bidirectional
    controls are removed.

    The function is idempotent: text that is already tidy does not change."""
    visible = "".join(c for c in text if c.isspace() or not (c in INVISIBLE or unicodedata.category(c) == "Cc"))
    plain = " ".join(visible.split())
    han = len(_IS_HAN.findall(plain))
    keep_clause_spaces = han >= _MIN_CLAUSE * (len(_CLAUSE_SPACE.findall(plain)) + 1)
    if not han:
        return plain
    runs = list(_runs(plain))
    spaced = [runs[0][0]]
    for (before, _), (after, gap) in pairwise(runs):
        spaced.append(_gap(before, after, gap, keep_clause_spaces=keep_clause_spaces) + after)
    return "".join(spaced)


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Split the text into runs of Chinese and of other characters. Yields each run with the space before it ("" or "
    ")."""
    for chunk in text.split(" "):
        for index, run in enumerate(_RUNS.findall(chunk)):
            yield run, "" if index else " "


def _gap(before: str, after: str, gap: str, *, keep_clause_spaces: bool) -> str:
    """Return the correct space ("" or " ") between two runs, which the original text separates by `gap`."""
    left, right = _kind(before[-1]), _kind(after[0])
    if "sign" in (left, right):
        return ""
    if left == right == "han":
        return gap if keep_clause_spaces or _is_boundary(before, after) else ""
    if left == right:
        return gap
    other = after if left == "han" else before
    if _NUMBER.fullmatch(other):
        return ""
    # A single letter may be part of a Chinese word (T恤, K歌) or of a name (A 君), so its spacing does not change.
    return " " if sum(c.isalnum() for c in other) > 1 else gap


def _is_boundary(before: str, after: str) -> bool:
    """Whether a space between two runs of Chinese separates phrases (`好呀 係呀 唔該`). If a run is a single character,
    the space only separates words."""
    return len(before) > 1 and len(after) > 1 and _ENDS_PHRASE.search(before) is not None


def _kind(char: str) -> str:
    if _IS_HAN.match(char):
        return "han"
    return "sign" if _IS_WIDE_SIGN.match(char) else "other"
