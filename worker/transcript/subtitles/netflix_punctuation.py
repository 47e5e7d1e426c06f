"""Writes the punctuation of Chinese text as Netflix's guide for Traditional Chinese asks. No I/O.

https://partnerhelp.netflixstudios.com/hc/en-us/articles/215994807: full-width punctuation, `⋯⋯` for an ellipsis,
`「」` for quotations and `『』` for quotations in them. Numbers, times and Latin text do not change.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from worker.transcript.model import Segment

_HAN: Final = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_IS_HAN: Final = re.compile(f"[{_HAN}]")
_WIDE: Final = "，。？！；：、「」『』（）《》〈〉【】⋯～"
_FULL_WIDTH: Final = {",": "，", ".": "。", "?": "？", "!": "！", ";": "；", ":": "：", "~": "～"}
_HALF_WIDTH_FORMS: Final = str.maketrans("｡､｢｣･．﹐﹑﹒﹔﹕﹖﹗﹙﹚", "。、「」・。，、。；：？！（）")
_ELLIPSIS: Final = re.compile(r"[.。…⋯‥]{2,}|[…⋯‥]|・{3,}|·{3,}")
_MARK: Final = re.compile(r"[,.?!;:~]+(?: +[,.?!;:~]+)*")
_ABBREVIATION: Final = re.compile(
    r"(?<![A-Za-z])(?:(?:[A-Za-z]\.)+[A-Za-z]|Dr|Mr|Mrs|Ms|Prof|St|No|Ltd|Co|Inc|Corp|Dept|Vol|Ave|Rd|Jr|Sr|vs|etc|approx|ext)$",
    re.IGNORECASE,
)
"""The letters before the dot of an abbreviation, as in a.m. or Dr. The dot does not end a sentence."""
_BRACKETS: Final = re.compile(rf"\(([^()]*[{_HAN}][^()]*)\)")
_SINGLE: Final = re.compile(rf"(?<!\w)'([^']*[{_HAN}][^']*)'(?!\w)")
_SPACE: Final = re.compile(rf" *([{_WIDE}]) *")
_EDGES: Final = r"""[\s,.?!;:~…⋯‥·・｡､。，、？！；：「」『』“”‘’"'()（）《》〈〉【】—–-]+"""
_AT_EDGES: Final = re.compile(f"^{_EDGES}|{_EDGES}$")


def punctuated(segment: Segment) -> Segment:
    """Return the segment with normalized punctuation. Punctuation at the ends of its words is removed, so that the
    words can be aligned with the new text."""
    text = normalized(segment.text)
    if text == segment.text:
        return segment
    words = tuple(replace(word, text=bare) for word in segment.words if (bare := _AT_EDGES.sub("", word.text)))
    return segment.model_copy(update={"text": text, "words": words})


def normalized(text: str) -> str:
    """Return the text with the punctuation of the guide. A text without Chinese characters does not change."""
    if not _IS_HAN.search(text):
        return text
    while (after := _once(text)) != text:  # a mark without its spaces may meet another one, as in `。 .`
        text = after
    return text


def _once(text: str) -> str:
    text = _ELLIPSIS.sub("⋯⋯", text.translate(_HALF_WIDTH_FORMS))
    text = _BRACKETS.sub(r"（\1）", text)
    text = _quotes(_SINGLE.sub(r"‘\1’", text))
    return _SPACE.sub(_spaced, _marks(text))


def _spaced(match: re.Match[str]) -> str:
    """Return a full-width mark without the spaces around it. The spaces around a bracket or an ellipsis are not
    removed."""
    mark = match.group(1)
    return mark if mark in "，。？！；：、" else match.group()


def _marks(text: str) -> str:
    """Return the text with full-width marks where the mark belongs to Chinese text."""
    chars = list(text)
    for match in _MARK.finditer(text):
        begin, end = match.span()
        if match.group() == "." and _ABBREVIATION.search(text[:begin]):
            continue
        before = text[:begin].rstrip()[-1:]
        if _belongs(before, text[end:].lstrip()[:1], direct=text[end : end + 1]):
            chars[begin:end] = [_FULL_WIDTH.get(mark, mark) for mark in match.group()]
    return "".join(chars)


def _belongs(before: str, after: str, *, direct: str) -> bool:
    """Whether a mark belongs to Chinese text. It does if it is after or before a Chinese character, or at the end of a
    text that contains one."""
    if before.isdecimal() and direct.isdecimal():
        return False
    return bool(_is_chinese(before) or _is_chinese(after) or not after)


def _is_chinese(char: str) -> bool:
    return bool(char) and (_IS_HAN.match(char) is not None or char in _WIDE)


def _quotes(text: str) -> str:
    """Return the text with corner brackets for all quotation marks. A single `"` without a partner does not change."""
    straight = text.count('"') // 2 * 2
    found, depth = [], 0
    for at, char in enumerate(text):
        apostrophe = char == "’" and text[at - 1 : at].isascii() and text[at - 1 : at].isalpha()
        opening = char in "“‘〝„" or (char == '"' and straight % 2 == 0 and straight > 0)
        closing = char in "”〞" or (char == "’" and not (apostrophe and depth == 0)) or (char == '"' and straight % 2)
        straight -= char == '"' and straight > 0
        if opening:
            found.append("「『"[depth % 2])
            depth += 1
        elif closing and depth:
            depth -= 1
            found.append("」』"[depth % 2])
        else:
            depth += char in "「『"
            depth -= char in "」』" and depth > 0
            found.append(char)
    return "".join(found)
