"""Finds simplified and traditional Chinese characters in one text. No I/O.

Most characters belong to both scripts. The other characters are distinguished by two encodings: GB 2312 contains the
simplified characters, Big5 the traditional ones. A result is confirmed with the tables of OpenCC. These tables need 50
MB of memory, so they are only loaded for a text that probably mixes scripts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from worker.transcript.script_characters import (
    SIMPLIFIED_IN_BIG5,
    encodes,
    is_only_simplified,
    is_only_traditional,
)

FEW_CHARACTERS: Final = 40
MIN_CHARACTERS: Final = 2
MIN_SHARE: Final = 0.005
"""A text mixes the scripts if each script has at least MIN_CHARACTERS and MIN_SHARE of the characters that belong to
one script. One character is enough if the text has at most FEW_CHARACTERS of these."""
_TYPED: Final = frozenset("响况内税迹争横叠强厨恒踪麽着吖揸台咤伙冲厘琼卧毡厩疴")
"""Characters that people in Hong Kong type in traditional text, but that count as simplified elsewhere."""
_CANTONESE: Final = frozenset("佢冇咁噉嗰啲喺嚟㗎嘅咗哋嘢睇畀嘞喎囉噃諗搵揾攞啱攰瞓晒嘥嚿")
"""Characters of Cantonese that both scripts use."""
_Kind = Literal["simplified", "traditional"]


@dataclass(frozen=True, slots=True)
class MixedScripts:
    """The most frequent characters of each script in a text that has both."""

    simplified: str
    traditional: str


def mixed_scripts(text: str) -> MixedScripts | None:
    """Return examples of the characters of each script, or None if the text does not mix the scripts."""
    counts: dict[_Kind, Counter[str]] = {"simplified": Counter(), "traditional": Counter()}
    for character, count in Counter(text).items():
        if kind := _probable_kind(character):
            counts[kind][character] = count
    if not _are_mixed(counts):
        return None
    counts = {
        "simplified": _only(counts["simplified"], is_simplified=True),
        "traditional": _only(counts["traditional"], is_simplified=False),
    }
    if not _are_mixed(counts):
        return None
    return MixedScripts(*("".join(c for c, _ in counts[kind].most_common(3)) for kind in ("simplified", "traditional")))


def _are_mixed(counts: Mapping[_Kind, Counter[str]]) -> bool:
    sizes = [found.total() for found in counts.values()]
    least = 1 if sum(sizes) <= FEW_CHARACTERS else MIN_CHARACTERS
    return min(sizes) >= max(least, MIN_SHARE * sum(sizes))


def _only(found: Counter[str], *, is_simplified: bool) -> Counter[str]:
    confirms = is_only_simplified if is_simplified else is_only_traditional
    return Counter({character: count for character, count in found.items() if confirms(character)})


@lru_cache(maxsize=8192)
def _probable_kind(character: str) -> _Kind | None:
    if character < "\u3400" or character in _TYPED or character in _CANTONESE:
        return None
    if character in SIMPLIFIED_IN_BIG5:
        return "simplified"
    simplified, traditional = encodes(character, "gb2312"), encodes(character, "big5")
    if simplified == traditional:
        return None
    return "simplified" if simplified else "traditional"


__all__ = ["MixedScripts", "mixed_scripts"]
