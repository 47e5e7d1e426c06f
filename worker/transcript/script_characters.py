"""Chinese characters that exist only in the simplified or only in the traditional script. No I/O."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

import opencc

_CANTONESE: Final = frozenset("吓揾糍晒冲喂舖撑恒强叠耻毡痴响况爲琼")
"""Characters that are typed in traditional text, but that OpenCC or Big5 takes for simplified ones: 恒生指數."""
SIMPLIFIED_IN_BIG5: Final = frozenset(
    "几惊听机价儿优体怀圣据极气确种网触赶坏厂洁与筑虫蚕胜适离万岭复愿并宁异挂党构苹扰怜尸腊蜡炖凄篱荐帘腌痒羡\U00020bb6"
)
"""Characters of Big5 that traditional text writes so rarely that they are evidence of simplified text."""


@lru_cache(maxsize=8192)
def is_only_simplified(char: str) -> bool:
    """Whether a character is not used in traditional text. Big5, the encoding of traditional Chinese, does not contain
    such characters."""
    if char in SIMPLIFIED_IN_BIG5:
        return True
    # The table of Hong Kong leaves 温, 户 and 税 alone, which are typed there beside 溫, 戶 and 稅.
    return char not in _CANTONESE and table("s2hk").convert(char) != char and not encodes(char, "big5")


@lru_cache(maxsize=8192)
def is_only_traditional(char: str) -> bool:
    """Whether a character is not used in simplified text. GB 2312, the encoding of simplified Chinese, does not contain
    such characters."""
    return table("t2s").convert(char) != char and not encodes(char, "gb2312")


def encodes(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@cache
def table(name: str) -> opencc.OpenCC:
    return opencc.OpenCC(name)
