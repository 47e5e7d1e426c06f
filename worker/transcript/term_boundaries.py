"""Decides whether a term of a glossary is a whole word at a position of a text. No I/O.

A term does not match inside a longer word, number, name or address. A wrong correction is worse than a missing one: it
damages text that was right, while an uncorrected term only stays as it was recognized. Doubtful positions are therefore
no boundaries.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

# Scripts without spaces between words. The first word of a character's Unicode name is its script.
_UNSPACED: Final = frozenset(
    ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "IDEOGRAPHIC")
)
_NUMBER_SIGNS: Final = ".,:/-–·，．：／"
_INSIDE_WORDS: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"[A-Za-z]{1,10}://[!-~]{1,500}|[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9.-]{1,100}"  # addresses
    r"|[@#][A-Za-z0-9_]+"  # accounts and tags
    r"|[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)+"  # domains, file names, a.m., U.S
    r"|[A-Za-z]+['’`´](?!s\b)[A-Za-z]+"  # don't, o'clock, c'mon; but not the possessive
    r"|[A-Za-z]{1,2}[&/][A-Za-z]{1,2}(?![A-Za-z])"  # R&D, w/o
    r"|(?:anti|non|post|pre|pro|self|semi)[-‐‑][A-Za-z]+"
    r"|[A-Za-z]{1,2}[-‐‑][A-Za-z]+|[A-Za-z]+[-‐‑][A-Za-z]{1,2}(?![A-Za-z])"  # e-mail, al-Banna
    r"|[A-Za-z0-9]+[-‐‑][0-9][A-Za-z0-9]*|[0-9]+[-‐‑][A-Za-z]+"  # covid-19, 4-wheel
    r"|[A-Za-z]+[-‐‑](?![A-Za-z0-9])"  # lam- lambada
    r"|(?:al|ca?|cf|vs|vol|pp?|eds?|fig|mt|st|no|pop|dr|mr|mrs|ms)\.(?=[,;:)]|\s+[\da-z])"  # et al., c. 1818
    r"|卡[拉啦]ok|[A-Za-z][恤裇歌光餐貨房版盤片圖记記]|aa制|[揸操]fit|[A-Za-z]{1,6}[仔女佬妹友]"  # T恤, K歌, A餐, van仔
    r")",
    re.IGNORECASE,
)
"""Words with signs or with two scripts inside. A term that is only a part of one does not match: `don` is not a word of
`don't`."""
_NUMERALS: Final = frozenset("〇零一二三四五六七八九十廿卅百千萬万億亿兩两")
_BEFORE_NUMBERS: Final = frozenset("#＃$＄£￡€¥￥+＋-−№")
_AFTER_NUMBERS: Final = frozenset("%％‰°℃℉#＃+＋")
_COUNTED: Final = re.compile(
    r"[0-9０-９][0-9０-９.,]*[年月日號号次個个隻只點点分秒萬万億亿成倍人家間间部架樓楼層层元蚊歲岁度位條条張张本期屆届季級级科班組组鐘种種場场局站線线條"
    r"%％]"
)
"""A number with its unit or counted noun (港大3年). In contrast to a number alone (東方188), it is not a part of the
name before it."""
_PLACES: Final = frozenset("道街路里徑径邨村苑閣阁牆墙居圍围澳灣湾山谷洲涌嶺岭峽峡角崗岗坳咀塱島岛")
"""Characters that turn the name before them into another name: 太子道 is not 太子, 天水圍 is not 天水."""
_TRANSLITERATED: Final = frozenset(
    "亞亚伯德斯爾尔克拉馬马瑪玛麗丽莉娜蘭兰森特羅罗倫伦威廉卡巴托薩萨塞貝贝比布佛福弗蓋盖戈格古哈赫亨霍基吉加賈贾傑杰凱凯科庫库萊莱利里林盧卢洛曼梅米密莫"
    "穆尼諾诺歐欧帕佩皮普奇喬乔瑞沙史蘇苏泰湯汤圖图瓦維维沃希夏雅伊尤約约扎詹珍朱茲兹桑梵阿艾安迪蒂丹登頓顿夫費费雷治"
)
_LANDFORMS: Final = frozenset("山河湖島岛市州城縣县灣湾海港江峰谷")
_SURNAMES: Final = frozenset(
    "陳陈林黃黄李張张王吳吴劉刘蔡楊杨許许鄭郑謝谢郭洪曾邱廖賴赖周徐蘇苏葉叶莊庄呂吕江羅罗蕭萧潘朱鍾钟彭詹胡施沈余盧卢梁趙赵顏颜翁魏孫孙戴范宋鄧邓"
    "杜侯曹薛傅丁溫温姚馮冯譚谭麥麦鄺邝甄伍黎鄒邹龔龚霍湯汤袁崔尹殷岑莫龍龙"
)
_BROADCASTERS: Final = ("電台", "电台", "電視", "电视", "日報", "日报", "週刊", "周刊", "晚報", "晚报", "出版社")
"""Words after which the word before them is the name of a broadcaster or publisher: 新城電台 is not 新城."""
_PREFIXES: Final = frozenset("新老小副正總总準准候非超")
"""Characters that turn the word after them into another title or name: 新將軍, 副主席."""
_PEOPLE: Final = frozenset("人話话製制籍裔式市省縣县國国")
"""Characters after the name of a place that do not change the place: 香港人, 日本製."""
_MEASURED: Final = frozenset("一二兩两三四五六七八九十幾几呢嗰這这那每數数半")


class TermBoundaries:
    """The positions of a text at which a term may begin or end. `begins`: the indices at which its words begin, and its
    length; None if every Chinese character is a word. `is_word`: whether the lexicon contains a text as one word."""

    def __init__(self, text: str, begins: set[int] | None, is_word: Callable[[str], bool] | None = None) -> None:
        self._text = text
        self._begins = begins
        self._is_word = is_word
        self._inside = {at for word in _INSIDE_WORDS.finditer(text) for at in range(word.start() + 1, word.end())}

    def is_whole(self, begin: int, end: int) -> bool:
        """Whether the text between two indices is a whole word, number or name."""
        return (
            begin not in self._inside
            and end not in self._inside
            and self._is_boundary(begin)
            and self._is_boundary(end)
            and not self._in_number(begin, end)
            and not self._in_name(begin, end)
        )

    def _is_boundary(self, at: int) -> bool:
        """Whether a word may begin or end at an index.

        An index between two Chinese characters is a boundary if a word begins there. An index is no boundary between
        letters or digits of other scripts, inside a number (3.5, 12:30), or before a combining mark. All other indices
        are boundaries."""
        text = self._text
        if at in (0, len(text)):
            return True
        before, after = text[at - 1], text[at]
        if unicodedata.category(after).startswith("M") or "\u200d" in (before, after):
            return False
        around = text[at - 2 : at + 1] if before in _NUMBER_SIGNS else text[at - 1 : at + 2]
        if len(around) == 3 and around[1] in _NUMBER_SIGNS and around[0].isdigit() and around[2].isdigit():
            return False
        if not (_in_word(before) and _in_word(after)):
            return True
        unspaced = _is_unspaced(before), _is_unspaced(after)
        if all(unspaced):
            return self._begins is None or at in self._begins
        return any(unspaced)

    def _in_number(self, begin: int, end: int) -> bool:
        """Whether a term is a part of a number with its signs (US$3, 3%, 24億, 二十五, C#), or a number
        after it belongs to its name (東方188)."""
        text = self._text
        before, after = text[begin - 1 : begin], text[end : end + 1]
        first, last = text[begin], text[end - 1]
        if (_is_number(first) and _is_number(before)) or (_is_number(last) and _is_number(after)):
            return True
        if (before in _BEFORE_NUMBERS and _is_latin(first)) or (after in _AFTER_NUMBERS and _is_latin(last)):
            return True
        return _is_unspaced(last) and after.isdecimal() and not _COUNTED.match(text, end)

    def _in_name(self, begin: int, end: int) -> bool:
        """Whether a Chinese term is a part of a longer name: of a person with surname (陳志明), of a place (太子道), or
        of a name from another language (威廉瑪麗)."""
        text = self._text
        first, last = text[begin], text[end - 1]
        before, after = text[max(0, begin - 2) : begin], text[end : end + 2]
        if not (_is_unspaced(first) and _is_unspaced(last)):
            return False
        if self._is_word is not None and end - begin > 1 and self._extends(begin, end, self._is_word):
            return True
        if after and after[0] in _PLACES and (self._begins is None or end + 1 in self._begins):
            return True
        if len(before) == 2 and _TRANSLITERATED.issuperset(before) and first in _TRANSLITERATED | _LANDFORMS:
            return True
        if (
            after[:1] in _TRANSLITERATED
            and last in _TRANSLITERATED
            and (after[1:] in _TRANSLITERATED or self._ends(end + 1))
        ):
            return True
        return end - begin == 2 and before[-1:] in _SURNAMES and bool(before) and self._is_surname(begin)

    def _extends(self, begin: int, end: int, is_word: Callable[[str], bool]) -> bool:
        """Whether a term is a part of a longer word of the lexicon (香港仔), or a common word that is a part of a name
        (新城電台) or title (新將軍)."""
        text = self._text
        before, after = text[max(0, begin - 1) : begin], text[end : end + 1]
        before_fits = before != "" and _is_unspaced(before) and self._is_boundary(begin - 1)
        after_fits = after != "" and _is_unspaced(after) and after not in _PEOPLE and self._is_boundary(end + 1)
        if (before_fits and is_word(text[begin - 1 : end])) or (after_fits and is_word(text[begin : end + 1])):
            return True
        named = (before_fits and before in _PREFIXES) or text.startswith(_BROADCASTERS, end)
        return named and is_word(text[begin:end])

    def _ends(self, at: int) -> bool:
        """Whether no letter follows at an index."""
        return not self._text[at : at + 1].isalpha()

    def _is_surname(self, at: int) -> bool:
        """Whether the character before an index is a word of its own, and no measure word (呢張)."""
        return (self._begins is None or at - 1 in self._begins) and self._text[at - 2 : at - 1] not in _MEASURED


def _is_number(character: str) -> bool:
    return character.isdecimal() or character in _NUMERALS


def _is_latin(character: str) -> bool:
    return character.isdecimal() or (character.isascii() and character.isalpha())


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")


def _is_unspaced(character: str) -> bool:
    return unicodedata.name(character, "").partition(" ")[0].partition("-")[0] in _UNSPACED


__all__ = ["TermBoundaries"]
