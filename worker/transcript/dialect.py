"""Distinguishes spoken Cantonese, written Chinese and English by their function words. No I/O.

People in Hong Kong speak Cantonese (`佢哋唔喺度`) and write standard Chinese (`他們不在這裡`). A recognizer that was
not trained for Cantonese translates it into written Chinese or into English. Only function words are evidence, because
both kinds of Chinese share their nouns and verbs. Some words of Cantonese (`的士`, `於是`, `不過`, `其他`) contain
function words of written Chinese, so such a word is no evidence. A text without enough evidence is neutral.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Dialect = Literal["cantonese", "written", "english", "neutral"]

MIN_HAN: Final = 5
"""A text with fewer Chinese characters is never written Chinese: Cantonese has `是的` and `不可能` in quotations."""
MIN_WRITTEN: Final = ((24, 0.5), (12, 0.8), (7, 1.0), (0, 1.5))
"""Evidence from which a text of so many Chinese characters is written Chinese. A long text needs less of it, because a
sentence of Cantonese with so many characters almost always has a function word of Cantonese."""
CANTONESE_WEIGHT: Final = 2.0
"""How many function words of written Chinese a function word of Cantonese outweighs. It is high because speakers quote
written Chinese, and because some people write 的 and 是 in Cantonese."""
MIN_ENGLISH_WORDS: Final = 4
"""A text with fewer English words is never English: product names and `OK` are normal in Cantonese."""
MIN_ENGLISH_SHARE: Final = 0.65
"""Minimum share of English words in an English text. A Chinese character counts as one word."""

_TRADITIONAL: Final = str.maketrans(
    "们这没么还说给为与来样时过难问让谁吗呐个间边话讲里着关联体总将从会对国学开见现实动两种发东几听觉该谂睇喽啰并于",
    "們這沒麼還說給為與來樣時過難問讓誰嗎吶個間邊話講裡著關聯體總將從會對國學開見現實動兩種發東幾聽覺該諗睇嘍囉並於",
)
"""Simplified characters in function words, and the traditional ones."""

# Words of both Cantonese and written Chinese that contain a function word of written Chinese. Also titles.
_SHARED_WORDS: Final = re.compile(
    "的士|的確|的而且確|目的|標的|的骰|的水|的式|的高|的篤"
    "|於是|利是|尤其是|是但|是旦|是日|是非|是次|是鬼|是必|凡是|自以為是|實事求是|是否|先是|如是"
    "|不過|不如|不停|不嬲|不同|不知幾|不知所|不得了|不幸|不少|不斷|不足|不妨|不良|不滿|不單|不但|不論|不管|不宜|不久|不時|不公"
    "|不便|不利|不可能|不可思議|不動產|不景氣|不銹|不限|不等|不一定|不俗|不日|不惜|不善|不義|不平|不安|不正|不法|不顧|不特止"
    "|不溜|不留|不經不覺|不敢當|不好意思|只不過|祇不過|差不多|對不起|了不起|莫不|無不|不了了之|不錯|混為一談"
    "|了解|了哥|為了|除了|罷了|了結|了事|了斷|了無|了得|一目了然|受不了|大不了|免不了|少不了|了了"
    "|現在|實在|存在|所在|自在|好在|在於|在乎|在場|在座|在職|在生|在此|正在|潛在|內在|外在|旨在|在校|在學|在位|在野|在線|在囚|在逃"
    "|在意|在行|在案|在家|在即|在內|在心|何在|勢在|健在|在在|在坐|志在|在下|在望|爭在|勝在|貴在|在先"
    "|其他|他日|吉他|他信|利他|他人|排他|維他|他他|馬耳他|他媽|無他|他殺|他鄉"
    "|和記|和平|和諧|和解|和尚|溫和|和約|共和|飽和|和局|柔和|緩和|總和|和服|和牛|附和|暖和|和氣|和好|和暖|調和|中和|和風|和睦|人和"
    "|祥和|隨和|和聲|和弦|講和|議和|求和|打和|和味|和黃|和合|永和|太和|和式|和麪|和麵|和頭酒|和食|平和|唱和|義和"
    "|也納|也門|也好|也罷|阿們|哥們|剎那|那打素|那威|支那|沒收|沒落|沉沒|出沒|淹沒|埋沒|吞沒|沒頂|沒藥"
    "|還原|還錢|還書|歸還|償還|還款|還債|還價|還清|還擊|還神|還我|還你|還俾|還畀|還返|退還|還押|還手|還口|討還|送還|奉還|還鄉|還願"
    "|說話|小說|傳說|說明|說法|據說|說服|學說|遊說|演說|解說|說唱|說教|邪說|說謊|說不定|按理說|老實說|坦白說|再說|說實話"
    "|看法|看護|看守|看更|看待|觀看|查看|看通|看齊|看似|看重|看淡|看好|刮目相看|另眼相看|看見|看樓|看台|看來"
    "|與其|參與|與會|與否|給予|供給|補給|給養|自給|吃力|吃虧|吃驚|口吃|吃重|吃緊|吃苦|吃醋|喝采|喝彩|喝止|吆喝"
    "|把握|把關|把戲|把柄|一把|把聲|兩把|大把|把口|拖把|把火|把嘴|把鬼|有把|成把|呢把|嗰把|把刀|把遮|把鎖|車把|把守"
    "|其它|很可能|應該|唔該|由於是|於是乎|並唔|並冇|將來|將軍|被迫|而家|而且|因而|反而|然而|其實|其中|及格|及時|以及|與及"
    "|棉被|張被|被單|被鋪|被袋|《[^》]{1,20}》"
)
_WRITTEN: Final = (
    (
        1.5,
        re.compile("[我你您他她它咱人]們|這|沒(?!$)|[什甚怎那多]麼|怎樣|為何要|哪[裡裏些個兒]|那[個些裡裏種樣時天是]"),
    ),
    (1.0, re.compile("[他她它是在也很還吃喝那哪您誰看說]|跟著|昨天|今天|明天")),
    (0.8, re.compile("[的了]")),  # more often than others in Cantonese that people write
    (
        1.0,
        re.compile("不[是要會用想能在讓再太對行好到願敢肯必該准許應知懂需]|不(?:可以|喜歡|認識|明白|容易|清楚|覺得)"),
    ),
    (0.5, re.compile("[不和把給與及並於被此該其則若至]|因此|由於|之一|而")),
)
"""Function words of written Chinese with their weights. Formal Cantonese contains those of low weight too."""
_CANTONESE: Final = re.compile(
    "[嘅咗喺唔佢哋嗰嘢啲冇噉咁㗎喇囉喎啫咩乜嚟睇俾畀諗晒哂攞揾搵嗱噃嘞唧咋嗌瞓攰靚冚嘥啱嚿嬲咪吖氹𡃉𠻺𨋢啩掂癐孖埞]"
    "|呢[個啲度件隻間位次條種樣排陣邊處句份部]|(?<![關聯體])係(?!數|統)|[唔就都即但淨梗硬]系|系[咪唔]"
    "|仲[有係要會未話唔可想俾畀喺好]|點[解樣]|邊[個度位]|而家|依家|尋日|琴日|琴晚|尋晚|聽日|今日好|屋企|鍾意|中意|同埋|幾多"
    "|成日|好似|跟住|埋單|[返番][去嚟工學屋]|[佢我你]地(?![方位點區])|果[個啲度]|依[個啲度]|[走撞行坐]埋"
    "|[食飲行做講玩睇瞓等坐企開讀寫]緊|[一兩三四五六七八九十百千幾]蚊|阿[媽爸爺嫲哥]|細路|[^0-9A-Za-z][Dd]嘢"
)
"""Function words of Cantonese, also as they are often typed."""
_HAN: Final = re.compile("[㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]")
_ENGLISH_WORD: Final = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
_COURTESY: Final = re.compile(
    r"\b(?:(?:ok|okay|yes|yeah|no|bye|bye bye|hello|hi|hey|sorry|please|good (?:morning|afternoon|evening|night)"
    r"|thank you|thanks|(?:very|so) much|see you|excuse me|oh my god|how are you|happy birthday|all right)"
    r"\b[\s,.!?]*)+",
    re.IGNORECASE,
)
"""English that people use in Cantonese."""
_ENGLISH_FUNCTION_WORDS: Final = frozenset(
    (
        *("a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because"),
        *("been", "before", "but", "by", "can", "could", "did", "do", "does", "for", "from", "had", "has"),
        *("have", "he", "her", "here", "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "me"),
        *("more", "my", "never", "no", "not", "now", "of", "on", "only", "or", "our", "out", "over", "she"),
        *("should", "so", "some", "than", "that", "the", "their", "them", "then", "there", "these", "they"),
        *("this", "those", "to", "too", "up", "us", "very", "was", "we", "were", "what", "when", "where"),
        *("which", "who", "why", "will", "with", "would", "yes", "you", "your"),
    )
)
"""Contractions count as well."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence for the language of a text. The evidence of several texts can be added."""

    han: int = 0
    """Number of Chinese characters."""
    written: float = 0.0
    """Weighted number of function words of written Chinese."""
    cantonese: int = 0
    """Number of function words of Cantonese."""
    english_words: int = 0
    english_function_words: int = 0

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            self.han + other.han,
            self.written + other.written,
            self.cantonese + other.cantonese,
            self.english_words + other.english_words,
            self.english_function_words + other.english_function_words,
        )

    @property
    def size(self) -> int:
        """Length of the text: the number of its Chinese characters and English words."""
        return self.han + self.english_words

    @property
    def dialect(self) -> Dialect:
        """The language of the text, or "neutral" without enough evidence."""
        if self.english_words >= MIN_ENGLISH_WORDS and self.english_words >= MIN_ENGLISH_SHARE * self.size:
            return "english" if self.english_function_words and not self.cantonese else "neutral"
        if self.cantonese and self.cantonese * CANTONESE_WEIGHT >= self.written:
            return "cantonese"
        least = next(least for han, least in MIN_WRITTEN if self.han >= han and not (han and self.cantonese))
        if self.han >= MIN_HAN and self.written - CANTONESE_WEIGHT * self.cantonese >= least:
            return "written"
        return "neutral"


def evidence_of(text: str) -> Evidence:
    """Count the evidence in a text."""
    english = _ENGLISH_WORD.findall(_COURTESY.sub(" ", text).replace("’", "'"))
    plain = text.translate(_TRADITIONAL)
    rest = _SHARED_WORDS.sub(" ", plain)
    return Evidence(
        han=len(_HAN.findall(plain)),
        written=sum(weight * len(pattern.findall(rest)) for weight, pattern in _WRITTEN),
        cantonese=len(_CANTONESE.findall(plain)),
        english_words=len(english),
        english_function_words=sum("'" in word or word.lower() in _ENGLISH_FUNCTION_WORDS for word in english),
    )


def dialect_of(text: str) -> Dialect:
    """Return the language of a text, or "neutral" if it has not enough evidence."""
    return evidence_of(text).dialect


__all__ = ["Dialect", "Evidence", "dialect_of", "evidence_of"]
