"""Finds phrases that a line break must not divide: amounts, dates, times, telephone numbers, product names. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

_N: Final = "[〇零一二三四五六七八九十百千萬万億亿兆廿卅兩两幾几半0-9０-９]"
_NUMBER: Final = rf"(?:\d[\d,.]*[十百千萬万億亿]*|{_N}+(?:點{_N}+)?)"
_MONEY: Final = r"(?:(?:HK|US|NT|AU?|CA?|S|RMB|CNY|JPY)?[$＄¥￥€£])"
_UNIT: Final = (
    "(?:個半鐘頭?|個半小時|個半月|個半|個(?:鐘頭?|字|月|星期|禮拜|小時|百分點|人)|度半?|分鐘|小時|秒鐘?|公里|公斤|公升|"
    "平方(?:呎|尺|米|公里)|蚊雞?|元|毫子?|美元|美金|港元|港幣|人民幣|英鎊|歐元|日圓|巴仙|歲半?|[年月日號点點分秒呎尺米磅斤兩倍成折])"
)
_PART_OF_DAY: Final = (
    "(?:凌晨|清晨|朝早|朝頭早|今朝|聽朝|尋朝|早上|上晝|上午|中午|晏晝|下晝|下午|傍晚|夜晚|晚上|今晚|聽晚|尋晚|半夜)"
)
_CURRENCY: Final = "(?:港幣|港紙|人民幣|台幣|新台幣|美金|美元|日圓|日元|歐元|英鎊|澳元|加元|坡紙)"
_DOUBLE_SURNAMES: Final = "(?:林鄭|陳方|范徐|葉劉|梁愛|陳馮|司徒|歐陽|上官|諸葛|夏侯|尉遲|令狐|端木)"
_DISTRICTS: Final = (
    "(?:中環|上環|西環|金鐘|灣仔|銅鑼灣|北角|太古|柴灣|香港仔|薄扶林|赤柱|尖沙咀|尖東|佐敦|油麻地|旺角|大角咀|深水埗|長沙灣|荔枝角|美孚"
    "|九龍[塘灣城]?|西九龍|黃大仙|鑽石山|新蒲崗|觀塘|藍田|油塘|紅磡|啟德|將軍澳|坑口|西貢|沙田|大圍|火炭|馬鞍山|大埔|粉嶺|上水|元朗|天水圍"
    "|屯門|荃灣|葵涌|葵芳|青衣|東涌|大嶼山|長洲|坪洲|錦田|打鼓嶺|沙頭角|葵青|北區|南區|離島)"
)
_LATIN: Final = r"[A-Za-z][A-Za-z'’.&+-]*"
_PHRASES: Final = (
    rf"{_N}+分之{_NUMBER}",
    rf"(?:[攝摄]氏|零下)*{_NUMBER}度{_N}*",
    rf"(?:[零下負超過近約逾成]|大約|超過|接近|足足)?{_MONEY} ?{_NUMBER}(?:{_UNIT})?(?:{_N}+(?:{_UNIT})?)*",
    rf"[過近約逾成超]{_NUMBER}{_UNIT}?",
    rf"{_NUMBER}(?:多|幾|餘|來)?{_UNIT}(?:零?{_N}+{_UNIT}?)*(?:半鐘?)?",
    rf"{_NUMBER}年{_N}+月(?:{_N}+[日號号])?|{_N}+月(?:份|底|初|中)?{_N}*[日號号]?",
    rf"{_N}+[點点時时](?:{_N}+分?|半|正|鐘|{_N}個字)?",
    rf"{_PART_OF_DAY}{_NUMBER}[點点時时](?:{_N}+分?|半|正|\d+分?)?",
    rf"{_CURRENCY} ?{_NUMBER}(?:{_UNIT})?",
    rf"{_DOUBLE_SURNAMES}[\u4e00-\u9fff]{{1,2}}(?=$|\W|[話講係喺同說表])",
    rf"{_DISTRICTS}第?{_N}+(?:城|[鄉約區](?![別分域])|邨|村|座|期|咪半?|號[^\u4e00-\u9fff]?)",
    rf"{_LATIN} ?(?:[咗晒嘅㗎喎啦喇囉]|緊(?![要張急]))",
    rf"{_N}+號(?:風球|颶風信號|烈風信號|強風信號|戒備信號|幹線|碼頭|線|仔|球)",
    r"(?:\(?\+?\d{2,3}\)?[ -])?\d{4}[ -]\d{4}",
    r"\d+ ?[x×] ?\d+",
    rf"第 ?{_NUMBER} ?[\u4e00-\u9fff]{{1,2}}(?=[，。！？、；：\s]|$)",
    rf"第 ?{_NUMBER}[個位次名屆季場集章課期間層張家條隻回輪代批項步類份日年月週周]?",
    r"[下上今前本](?:個)?(?:星期|禮拜|周|週)[一二三四五六日天]?",
    r"(?:星期|禮拜|週|周)[一二三四五六日天]",
    rf"{_LATIN} [A-Z]?\d[\w.]*(?: (?:Pro|Max|Plus|Ultra|Mini|Air|Lite|SE|Gen|Note|FE|[A-Z]\b)){{0,2}}(?![A-Za-z])",
    r"\d[\d,.]* ?(?:%|％|°C|℃|km|kg|GB|MB|TB|mm|cm|ml|am|pm|AM|PM)(?![A-Za-z])",
)
_HAN: Final = re.compile("[\u4e00-\u9fff]")
_LATIN_RUN: Final = re.compile(rf"{_LATIN}(?: {_LATIN})+")
AUDIO_EVENT: Final = re.compile(r"\[[^\[\]]{1,24}\]")
"""An audio event, such as `[掌聲]`."""
_MAX_LATIN: Final = 22
"""Latin words in Chinese text with more characters may be divided: they are a sentence, not a term."""


@cache
def _phrases() -> tuple[re.Pattern[str], ...]:
    """Compiled at the first Chinese text, because it takes 20 ms, a fiftieth of a worker's start."""
    return tuple(re.compile(pattern) for pattern in _PHRASES)


def unbroken_positions(text: str) -> set[int]:
    """Return the indices before which no line may break, because a phrase extends across them."""
    return {at for begin, end in _spans(text) for at in range(begin + 1, end)}


def _spans(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span() for match in AUDIO_EVENT.finditer(text))
    if not _HAN.search(text):
        return
    for pattern in _phrases():
        yield from (match.span() for match in pattern.finditer(text))
    for match in _LATIN_RUN.finditer(text):
        if len(match.group()) <= _MAX_LATIN:
            yield match.span()
