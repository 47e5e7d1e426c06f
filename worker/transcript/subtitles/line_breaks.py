"""Finds the positions at which a line may break, by the Unicode line breaking algorithm (UAX #14). No I/O.

Subtitles need stricter rules than other text: a Latin word with a hyphen or a slash is not divided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from uniseg.linebreak import LineBreak, line_break, line_break_boundaries

from worker.transcript.subtitles.cjk_spacing import CLOSING, OPENING, is_cjk

_EMOJI: Final = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf]")
# Scripts without spaces between words and without rules for their letters: UAX #14 needs a dictionary for them.
_COMPLEX: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1a20-\u1aaf]")
# Characters next to which a line may break without a space.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1a20-\u1aaf\u2600-\u27bf\u2e80-\ud7af\uf900-\U0003ffff]"
)
# Most text consists of these ideographs, between which a break is always allowed.
_HAN_OR_NOT: Final = re.compile("[\u4e00-\u9fff]+|[^\u4e00-\u9fff]+")
# A run of katakana is a word: ショッピングモール.
_KATAKANA: Final = re.compile("[\u30a1-\u30fa\u30fc-\u30fe\u31f0-\u31ff\uff66-\uff9f]+")
# Korean has spaces between its words. A word may contain Latin letters and digits: AI는, 3월에.
_KOREAN_WORD: Final = re.compile(
    "[A-Za-z0-9]*[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]"
    "[A-Za-z0-9\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]*"
)

# Signs of the classes EX (narrow, wide), IS, CL and OP. The first one stands for all of its class in the keys of the
# cache.
_SAME_CLASS: Final = {
    char: signs[0] for signs in ("!?", "！？", ",.:;", "。，、」』）》】〉", "「『（《【〈") for char in signs
}


def breaks(text: str, word_begins: Iterable[int] = ()) -> list[int]:
    """Return the indices in `text` before which a line may break, in order. The start and the end of the text are not
    included.

    `word_begins`: indices at which a word of the service begins. Text in Thai, Lao, Khmer and Burmese breaks only at
    these indices."""
    if not _UNSPACED.search(text):
        return [at for at in range(1, len(text)) if text[at - 1].isspace()]
    inside = {
        at
        for words in (_KATAKANA, _KOREAN_WORD)
        for word in words.finditer(text)
        for at in range(word.start() + 1, word.end())
    }
    known = {at for at in word_begins if 0 < at < len(text) and _COMPLEX.match(text[at - 1]) and _starts(text, at)}
    return sorted(known.union(_uax14(text)) - inside)


def _starts(text: str, at: int) -> bool:
    """Whether a letter of a script without spaces is at the index. A vowel sign or tone mark continues the letter."""
    return _COMPLEX.match(text[at]) is not None and text[at].isalpha()


def _fits(before: str, after: str) -> bool:
    if before.isspace():
        return True
    if before in OPENING or after in CLOSING:
        return False
    return any(is_cjk(char) or _EMOJI.match(char) for char in (before, after))


def _uax14(text: str) -> Iterator[int]:
    """Yield the break positions of UAX #14 that fit subtitles.

    The library needs 180 microseconds for a character, so this function calls it for few characters. A break between
    two ideographs is always allowed, and no rule reaches across an ideograph. So the library only gets the runs of
    other characters, with the ideographs next to them. The results are cached. In the key of the cache, each character
    is replaced by one of the same class, and each word and number by one character, so that many texts share an
    entry."""
    for run in _HAN_OR_NOT.finditer(text):
        begin, end = run.span()
        if _is_han(text[begin]):
            yield from range(begin + 1, end)
        else:
            begin, end = max(0, begin - 1), min(len(text), end + 1)
            yield from _around(text, begin, end)


def _around(text: str, begin: int, end: int) -> Iterator[int]:
    """Yield the break positions in a run of other characters, with the ideographs next to it."""
    plain = [_is_ideograph(char) for char in text[begin:end]]
    done = 0
    for at in range(1, len(plain) + 1):
        if at < len(plain) and not (plain[at - 1] and plain[at]):
            continue
        run = text[begin + done : begin + at]
        pattern, begins = _pattern(run)
        found = (begins[k] for k in _of_run(pattern))
        yield from (begin + done + k for k in found if _fits(run[k - 1], run[k]))
        if at < len(plain) and _fits(text[begin + at - 1], text[begin + at]):
            yield begin + at
        done = at


def _is_han(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff"


def _pattern(run: str) -> tuple[str, list[int]]:
    """Return the run with each character replaced by one of its class, and the index in the run of each character of
    the result. Letters or digits in a row are one character, because no break is between them."""
    pattern, begins = "", []
    for at, char in enumerate(run):
        same = _class(char)
        if at and same in "a1" and pattern[-1] == same:
            continue
        pattern += same
        begins.append(at)
    return pattern, begins


@lru_cache(maxsize=16384)
def _class(char: str) -> str:
    """Return one character for all characters that UAX #14 treats in the same way."""
    if char.isascii():
        return "a" if char.isalpha() else "1" if char.isdigit() else _SAME_CLASS.get(char, char)
    return "一" if _is_ideograph(char) else _SAME_CLASS.get(char, char)


@lru_cache(maxsize=16384)
def _is_ideograph(char: str) -> bool:
    """Whether a character is an ideograph, kana or Hangul syllable: it allows a break on each side."""
    return is_cjk(char) and line_break(char) in (LineBreak.ID, LineBreak.H2, LineBreak.H3)


@lru_cache(maxsize=4096)
def _of_run(run: str) -> tuple[int, ...]:
    return tuple(at for at in line_break_boundaries(run) if 0 < at < len(run))
