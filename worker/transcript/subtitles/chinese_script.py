"""Converts Chinese text to another script with OpenCC: Hong Kong or Taiwan traditional characters, or simplified ones.

Only characters change, not the choice of words: `軟件` stays `軟件` in Taiwan's script. Latin letters, digits and
punctuation do not change. Each segment is judged by itself, because a recognizer may change the script within a file.
Without clear evidence of simplified text, a segment counts as traditional: tables for simplified text damage
traditional text (`姓余` becomes `姓餘`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, lru_cache
from typing import Final

import opencc

from worker.transcript.model import Segment, Transcript, Word
from worker.transcript.subtitles.cantonese_characters import correct_simplified, correct_traditional
from worker.transcript.subtitles.style import Script

_FROM_SIMPLIFIED: Final[dict[Script, str]] = {"hk": "s2hk", "tw": "s2tw"}
# Traditional text is first converted from the characters of the other region to the common traditional characters.
_FROM_TRADITIONAL: Final[dict[Script, tuple[str, ...]]] = {
    "hk": ("tw2t", "t2hk"),
    "tw": ("hk2t", "t2tw"),
    "cn": ("hk2t", "t2s"),
}
_TYPED: Final = str.maketrans("説羣牀户温揾麪脱鋭閲悦税醖藴枱呑峯嫺豔", "說群床戶溫搵麵脫銳閱悅稅醞蘊檯吞峰嫻艷")
"""OpenCC's Hong Kong characters that people in Hong Kong hardly type, and the ones that they type."""
_NOT_TYPED: Final = frozenset("著爲臺汙祕僞眞衆溼脣嚐啓菸綑彙")
"""Characters of Taiwan, or old ones, that are converted in traditional text. Others stay as they were typed."""
_OF_TAIWAN: Final = frozenset("著爲臺溼祕菸")
"""Evidence that a traditional text is not from Hong Kong. Only then, 裡 becomes 裏: both are typed there."""

_CANTONESE: Final = frozenset("吓揾糍晒冲喂舖")
"""Characters of traditional Cantonese text that OpenCC or Big5 takes for simplified ones."""
_SIMPLIFIED_IN_BIG5: Final = frozenset("几惊听机价儿优体怀圣据极气确种网触赶坏厂洁与筑虫蚕胜适离\U00020bb6")
"""Characters of Big5 that traditional text writes so rarely that they are evidence of simplified text."""
_SIMPLIFIED_WORDS: Final = re.compile(
    "[之以然最今先前]后|后[来面尾日生果悔边]|[呢嗰屋家边城心]里(?!程)|里[面边]|[一二两三四五六七八九十几百0-9]万|几[多个时]"
)
"""Words of characters of both scripts that are written so only in simplified text."""


def in_script(transcript: Transcript, script: Script | None) -> Transcript:
    """Return the transcript with its text and words in `script`. If `script` is None, it is returned unchanged."""
    if script is None:
        return transcript
    segments = tuple(_segment(segment, script) for segment in transcript.segments)
    text = "\n".join(convert(line, script) for line in transcript.text.split("\n"))
    return transcript.model_copy(update={"text": text, "segments": segments})


def convert(text: str, script: Script) -> str:
    """Return the text of one segment in `script`, with as many characters as before."""
    changed = _to_simplified(text) if script == "cn" else _to_traditional(text, script)
    return changed if len(changed) == len(text) else text


def is_simplified(text: str) -> bool:
    """Whether more characters of a text exist only in the simplified script than only in the traditional script."""
    simplified = sum(map(_only_simplified, text)) + len(_SIMPLIFIED_WORDS.findall(text))
    return simplified > sum(map(_only_traditional, text))


def _to_traditional(text: str, script: Script) -> str:
    if is_simplified(text):
        changed = _table(_FROM_SIMPLIFIED[script]).convert(text)
        if len(changed) != len(text):
            return text
        return correct_simplified(text, changed.translate(_TYPED) if script == "hk" else changed)
    changed = text
    for name in _FROM_TRADITIONAL[script]:
        changed = _table(name).convert(changed)
    if len(changed) != len(text):
        return text
    if script == "hk":
        kept = _NOT_TYPED | ({"裡"} if _OF_TAIWAN.intersection(text) else frozenset())
        changed = "".join(after if before in kept else before for before, after in zip(text, changed, strict=True))
    # Single simplified characters in traditional text, such as 这, are never meant as they are.
    if any(map(_only_simplified, text)):
        table = _table(_FROM_SIMPLIFIED[script]).convert(text).translate(_TYPED if script == "hk" else {})
        changed = "".join(s if _only_simplified(c) else t for c, t, s in zip(text, changed, table, strict=True))
    return correct_traditional(text, changed, undecided=not any(map(_only_traditional, text)))


def _to_simplified(text: str) -> str:
    """Return the text in simplified characters. A character without one in common fonts does not change."""
    if not any(map(_only_traditional, text)):
        return text
    changed = text
    for name in _FROM_TRADITIONAL["cn"]:
        changed = _table(name).convert(changed)
    if len(changed) != len(text):
        return text
    return "".join(a if _encodes(a, "gbk") else b for b, a in zip(text, changed, strict=True))


def _segment(segment: Segment, script: Script) -> Segment:
    text = convert(segment.text, script)
    return segment.model_copy(update={"text": text, "words": tuple(_words(segment, text, script))})


def _words(segment: Segment, converted: str, script: Script) -> Iterator[Word]:
    """Yield the words of a segment in the script.

    They are taken from the converted text of the segment, because the conversion of a character depends on its
    neighbours. A word that is not found in the text is converted by itself."""
    at = 0
    for word in segment.words:
        begin = segment.text.find(word.text, at)
        if begin < 0:
            text = convert(word.text, script)
        else:
            at = begin + len(word.text)
            text = converted[begin:at]
        yield replace(word, text=text)


@lru_cache(maxsize=8192)
def _only_simplified(char: str) -> bool:
    """Whether a character is not used in traditional text. Big5, the encoding of traditional Chinese, lacks those."""
    if char in _SIMPLIFIED_IN_BIG5:
        return True
    return char not in _CANTONESE and _table("s2t").convert(char) != char and not _encodes(char, "big5")


@lru_cache(maxsize=8192)
def _only_traditional(char: str) -> bool:
    """Whether a character is not used in simplified text. GB 2312, the encoding of simplified Chinese, lacks those."""
    return _table("t2s").convert(char) != char and not _encodes(char, "gb2312")


def _encodes(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@cache
def _table(name: str) -> opencc.OpenCC:
    return opencc.OpenCC(name)
