"""Names of audio events in the languages of common services. No I/O."""

from __future__ import annotations

import re
from typing import Final

_SOUNDS: Final = (
    "掌|笑|歌|哭|樂|乐|鈴|铃|鐘|钟|槍|枪|雨|風|风|雷|水|車|车|腳步|脚步|敲門|敲门|開門|开门|關門|关门|爆炸|警報|警报|歡呼|欢呼|噓|嘘"
    "|口哨|尖叫|嘈雜|嘈杂|呼吸|鼻鼾|喘息|狗吠|狗叫|鳥叫|鸟叫|引擎|汽笛|喇叭|咳嗽|電話鈴|电话铃|電話|电话|背景|海浪|鼓|琴|哨子|雜|杂"
)
_WHO: Final = (
    "全場|全场|現場|现场|觀眾|观众|眾人|众人|熱烈|热烈|背景|輕快|轻快|輕柔|轻柔|片頭|片头|片尾|開場|开场|女人?|男人?|小孩|嬰兒|婴儿|持續|持续"
    "|一片|一陣|一阵|大|輕|轻|苦|冷|偷|哄|狂|眾|众|微"
)
_HAN: Final = re.compile(
    rf"(?:{_WHO})*"
    rf"(?:(?:{_SOUNDS})[聲声]|鼓掌|拍手|拍掌|音樂|音乐|音楽|配樂|配乐|笑い?|歡呼|欢呼|咳嗽?|嘆氣|叹气|歎氣|哭泣?|尖叫|口哨|噪音|雜音|杂音"
    "|靜默|静默|停頓|停顿|無聲|无声|靜音|静音|聽不清楚?|听不清楚?|聽唔到|聽唔清楚?|打噴嚏|打喷嚏|清喉嚨|清喉咙|喘氣|喘气|外語|外语|鈴響|铃响)"
    "(?:響起|响起|起|停止|結束|结束|漸弱|播放|不絕|不断|不斷|雷動|雷动)?"
)
"""Names in Chinese and Japanese. Speech does not have these in parentheses."""
_LATIN: Final = re.compile(
    r"applau\w*|laugh(?:s|ter|ing)?|chuckl\w+|giggl\w+|music|cheer(?:s|ing)|cough(?:s|ing)|sigh(?:s|ing)|inaudible"
    r"|unintelligible|indistinct|cross-?talk|risas|aplausos|música|rires|applaudissements|musique|gelächter|beifall|박수|웃음|음악",
    re.IGNORECASE,
)
"""Names in other languages that are hardly ever said in parentheses."""
_MORE_LATIN: Final = re.compile(
    r"clap(?:s|ping)?|song|singing|sings|crying|sobbing|scream(?:s|ing)?|whistl\w+|ring(?:s|ing)|bells?|beep(?:s|ing)?|buzz(?:es|ing)?"
    r"|noises?|static|silence|pause|sneez\w+|snor(?:e|es|ing)|breath(?:es|ing|s)?|gasps?|groans?|moans?|yawns?|footsteps|knock(?:s|ing)?"
    r"|gunshots?|explosions?|thunder|barks?|barking|sirens?|engine|horns?|typing|boo(?:s|ing)|humm(?:s|ing)|hums|chatter(?:ing)?"
    r"|sniff(?:s|ing)?|whispers?|whispering|mumbl\w+|clicks?|clicking|cheers?|cries|audio|speech|language|throat",
    re.IGNORECASE,
)
"""Names in other languages that are often said, too."""
_WITH_LATIN: Final = frozenset(
    (
        *("a", "and", "audience", "baby", "background", "blank", "brief", "child", "children", "clearing"),
        *("clears", "closes", "continues", "crowd", "deep", "dog", "door", "dramatic", "ends", "fades"),
        *("female", "foreign", "gentle", "guitar", "heavily", "in", "intro", "laughing", "light", "long"),
        *("loud", "loudly", "male", "man", "no", "nervously", "of", "off", "opens", "outro", "people", "phone"),
        *("piano", "playing", "plays", "soft", "softly", "speaking", "speaks", "stops", "the", "theme"),
        *("upbeat", "woman"),
    )
)
"""Other words of English names, such as `(audience laughing)` and `[upbeat music playing]`."""


def is_certain_event(name: str) -> bool:
    """Whether a text in parentheses always names an audio event. The words around it do not matter."""
    return _HAN.fullmatch(name.replace(" ", "")) is not None or _consists_of(name, _LATIN)


def is_possible_event(name: str) -> bool:
    """Whether a text in parentheses names an audio event unless a speaker says this text."""
    return is_certain_event(name) or _consists_of(name, _LATIN, _MORE_LATIN)


def _consists_of(name: str, *patterns: re.Pattern[str]) -> bool:
    named = [any(pattern.fullmatch(word) for pattern in patterns) for word in name.split()]
    return any(named) and all(
        found or word.lower() in _WITH_LATIN for word, found in zip(name.split(), named, strict=True)
    )


__all__ = ["is_certain_event", "is_possible_event"]
