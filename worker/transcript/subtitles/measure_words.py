"""Recognizes numbers and the measure words or units after them, which a line break must not separate. No I/O.

The lists contain words that are common in speech, in the spelling that recognizers write.
"""

from __future__ import annotations

import re
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMERALS: Final = frozenset("〇零一二三四五六七八九十百千萬万億亿兆廿卅兩两幾几半")
# Chinese measure words of one character, then of more than one character.
_COUNTERS: Final = frozenset(
    "個个隻只張张件條条部架間间次位名歲岁年月日號号點点分秒鐘钟時时週周天元蚊毫角米度層层樓楼倍級级班場场"
    "本枝支把杯碗碟樽瓶包盒箱袋對对雙双套組组排行句字頁页首幅份門门口人家棵朵粒顆颗塊块片輛辆艘台座幢宗單单"
    "屆届期代世章節节課课集季站路里斤磅噸吨克升尺寸呎吋畝亩成份"
)
_LONG_COUNTERS: Final = tuple(
    _words(
        "公里 公斤 公升 公尺 公分 公頃 公顷 平方米 平方公里 平方呎 平方尺 平方英尺 立方米 毫米 毫升 厘米 英里 英尺"
        " 英寸 海里 分鐘 分钟 秒鐘 秒钟 小時 小时 個鐘 個月 个月 個小時 个小时 個星期 个星期 個禮拜 星期 禮拜 年級"
        " 年级 年代 世紀 世纪 港元 港幣 美元 美金 英鎊 英镑 歐元 欧元 日圓 日元 人民幣 人民币 蚊雞 個人 个人 巴仙"
        " 個百分點 个百分点 攝氏度 摄氏度"
    )
)
_SPELLED: Final = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half"
    " quarter dozen"
)
_UNITS: Final = _words(
    "% percent per-cent hundred thousand million billion trillion dozen mm cm m km metre metres meter meters"
    " kilometre kilometres kilometer kilometers centimetre centimetres inch inches foot feet ft yard yards mile miles"
    " mph kph mg g kg gram grams kilo kilos kilogram kilograms ton tons tonne tonnes ounce ounces oz pound pounds lb"
    " lbs ml litre litres liter liters pint pints gallon gallons gb mb kb tb hz khz mhz ghz watt watts kw volt volts"
    " second seconds sec minute minutes min hour hours day days night nights week weeks month months year years decade"
    " decades century centuries o'clock am pm a.m p.m times degree degrees celsius fahrenheit dollar dollars cent cents"
    " euro euros pence yen yuan usd hkd gbp people acres hectares pages points"
)
_DIGIT: Final = re.compile(r"\d")
_SIGNS: Final = ".,;:!?。，、；：！？…)]）」』\"'”’"


def is_number_phrase(before: str, after: str, *, spaced: bool) -> bool:
    """Whether `before` ends with a number that `after` continues. `after` continues it with further digits, or with the
    start of its measure word or unit.

    `spaced`: whether a space separates the two texts."""
    if spaced:
        return _counted(before.rsplit(maxsplit=1)[-1], after.split(maxsplit=1)[0])
    if before[-1] == "第":
        return is_numeral(after[0])
    # The characters of a long measure word that are already in `before`; "" if it ends with the number.
    counted = _after_number(before)
    if counted is None:
        return False
    if not counted and (is_numeral(after[0]) or after[0] in _COUNTERS):
        return True
    return any(counter.startswith(counted + after[0]) for counter in _LONG_COUNTERS)


def same_number(before: str, after: str) -> bool:
    """Whether `before` ends with a Chinese numeral and `after` begins with one. The two numerals are one number unless
    a pause separates them."""
    return before[-1] in _NUMERALS and after[0] in _NUMERALS


def is_numeral(char: str) -> bool:
    return char in _NUMERALS or char.isdigit()


def _after_number(text: str) -> str | None:
    """Return the rest of a text after its last numeral, which may be "". Returns None if the text has no numeral."""
    for at in range(len(text) - 1, -1, -1):
        if is_numeral(text[at]):
            return text[at + 1 :]
    return None


def _counted(number: str, unit: str) -> bool:
    """Whether two words that a space separates are a number and its unit, or parts of one number."""
    word = unit.rstrip(_SIGNS).lower()
    if number[-1] in _SIGNS and not number.endswith("."):
        return False
    if word in _UNITS:
        return _DIGIT.search(number) is not None or number.lower() in _SPELLED
    # Groups of digits, as in a telephone number or an amount; or a prefix and its number: HK$ 50, No. 5.
    grouped = number.isdigit() and word.isdigit() and len(word) in (3, 4)
    return grouped or (word[:1].isdigit() and number.lower() in ("no.", "$", "hk$", "us$", "£", "€", "¥"))
