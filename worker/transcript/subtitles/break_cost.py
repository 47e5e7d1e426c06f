"""Computes the cost of a break between two units of text. The break is either a line break, or the end of a subtitle
cue. No I/O.

Breaks after punctuation are cheapest, then breaks in pauses. Breaks within a phrase are expensive: after an article or
a preposition, between a Chinese verb and its particle (`食|咗`).
"""

from __future__ import annotations

import re
from typing import Final

from worker.transcript.subtitles.cjk_spacing import is_cjk
from worker.transcript.subtitles.measure_words import is_numeral
from worker.transcript.subtitles.text_units import PAUSE_MS, Unit


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Costs of a break, by its position: after a sentence, after a clause, at the end of a segment, at a space between two
# Chinese clauses, in a short or a long pause, before a link word, elsewhere between words, after a word that belongs to
# the next one (or before a particle), and inside a Chinese word or a date.
SENTENCE: Final = 0.0
CLAUSE: Final = 1.0
_SEGMENT: Final = 0.5
_CLAUSE_SPACE: Final = 1.0
_PAUSE: Final = 2.0
_LONG_PAUSE: Final = 0.5
_BEFORE_LINK: Final = 3.0
_ANYWHERE: Final = 4.0
_AFTER_LINK: Final = 6.0
_INSIDE: Final = 14.0
_AFTER_LEADER: Final = 10.0
_HEAD: Final = 7.5
_SINGLE: Final = 3.0
"""Added for a Chinese word of one character, which mostly belongs to its neighbour: 食|碗, 架|車."""

_LONG_PAUSE_MS: Final = 1000
_SENTENCE_END: Final = frozenset(".!?。！？…")
_CLAUSE_END: Final = frozenset(",;:，、；：—–")
_BARE: Final = "\"'”’」』）)（「『([，。、；：！？…,.;:!? "
_QUOTES: Final = "\"'”’」』）)"
# Abbreviations, whose full stop does not end a sentence.
_ABBREVIATIONS: Final = _words(
    "mr. mrs. ms. dr. st. prof. rev. gen. col. lt. sgt. capt. sen. rep. gov. no. vs. e.g. i.e."
)
_INITIAL: Final = re.compile(r"[A-Z]\.")
# Conjunctions and prepositions: a break before them is better than after them.
_LINKS: Final = _words(
    "and but or nor so because although though while when where which who whom whose that if unless until since than"
    " of in on at by for from to with without about into onto over under between through during before after against"
    " as like"
)
# Words that should not end a line: articles, determiners, pronouns, auxiliaries, negations.
_OPENERS: Final = _words(
    "a an the this these those my your his her its our their no every each some any i you he she it we they is are was"
    " were be been am has have had do does did will would can could shall should may might must not very more most"
    " don't doesn't didn't won't can't i'm you're we're they're it's"
)
# Chinese particles and complements that belong to the word before them.
_PARTICLES: Final = frozenset(
    "嘅咗緊住過晒埋返番翻到哋啲呀啊喇啦囉㗎喎㖞咩添吖呢嗎吧的了着著过們们得地里裡裏上下中內内外面先度嚟落起開开"
    "嘞啫咋噃吓啩嘛咧嗱噉唧吒𠻹喔噢哦呃欸啵嗰掂實极極"
)
_COMPLEMENTS: Final = _words(
    "落嚟 落去 返嚟 返去 起嚟 出嚟 出去 入嚟 入去 過嚟 過去 上嚟 上去 埋嚟 埋去 開嚟 番嚟 嘅話 㗎喇 㗎啦 嘅時候"
)
# Single characters before which a clause or phrase often begins, so that a break is natural.
_BEGINNERS: Final = frozenset("喺係就都話同將由去仲但先俾畀令讓")
# Characters between the numbers of a date or a time: 2011年|8月|3日, 三點|十五分.
_OF_DATES: Final = frozenset("年月點点時时")
# Words of more than one character that begin a clause or phrase.
_CLAUSE_BEGINS: Final = _words(
    "我哋 你哋 佢哋 但係 不過 如果 因為 所以 然後 跟住 同埋 或者 而且 雖然 即係 就係 其實 不如 而家 聽日 尋日 琴日 今日"
    " 今次 嗰個 呢個 之後 之前 可以 應該 真係 將會 希望 需要 已經 仲有 都係 都要 就要 就會 都會 都唔 唔好 唔使 點解"
    " 但是 如果 因为 因為 所以 然后 而且 虽然 我们 我們 他们"
    " 他們 這個 这个 可能 一定 每次 每日 成日 先至 至於 由於 以及"
)
# Chinese words that belong to the word after them.
_LEADERS: Final = frozenset(
    "唔不冇未沒没無无好最更太將将把被俾畀同和與与及喺在係是都也就又再先至嗰呢這这那每各他她它架隻個間張部件條份位"
    "下上今前本要想會肯敢去嚟過近約成逾向對由從比令讓幫跟仲只咁幾話"
)
# Nouns at the end of names and compounds: 瑪麗|醫院, 技術|支援部, 雲吞|麵.
_HEADS: Final = frozenset(
    "麵飯湯粉粥茶店舖院校署局處部會組隊館場站街道路邨苑樓廈"
    "灣山島區市鎮村橋員者師家長廳室機車費證紙卡單率量級罪案綫線號期"
)
_LONG_HEADS: Final = _words(
    "醫院 大學 中學 小學 學院 書院 法院 銀行 公司 集團 協會"
    " 中心 機場 碼頭 廣場 商場 酒店 事務處 辦事處 管理局 委員會 支援部"
    " 部門 先生 小姐 太太 女士 醫生 老師 教授 議員 局長 主席"
    " 醫院 球場 公園 花園 機構 組織 系統 計劃 條例 服務 政府 大廈"
)
_DIRECTIONS: Final = frozenset("入出上落返翻番過过埋開开起")
"""Ends of verbs that 去 or 嚟 continues: 放入|去, 行出|嚟."""
_PRONOUNS: Final = frozenset("我你佢")
_VERB_ENDS: Final = frozenset("到過过緊紧咗住晒埋畀俾幫帮叫問问搵揾絡络訴诉")
"""Ends of verbs after which a pronoun is the object: 見到|你, 聯絡|你."""
_MEASURED_BY: Final = re.compile("[連连成][部個个隻只張张件條条間间架]")
"""A measure word with 連 (even) or 成 (whole) before its noun: 連部|相機."""
_MODALS: Final = _words("將會 将会 必須 必须 正在")
"""Words before the verb or place that they belong to: 將會|喺."""
_THOUGHTS: Final = _words("懷疑 怀疑 覺得 觉得 認為 认为 以為 以为 知道 發現 发现 估計 估计 相信")
"""Verbs whose object may begin with 係: 懷疑|係."""
_TIMES: Final = frozenset(("之前", "之後", "之后", "以前", "以後", "以后", "期間", "期间", "嗰陣", "左右"))
"""Words that belong to a verb of one character before them: 飲|之前."""


def cost(before: Unit, after: Unit) -> float:
    """Return the cost of a break between two units, from 0 (end of a sentence) to 8 (inside a Chinese word)."""
    marked = _marked(before, after)
    if marked is not None:
        return marked
    return _cjk(before, after) if before.cjk or after.cjk else _latin(before, after)


def _marked(before: Unit, after: Unit) -> float | None:
    """Return the cost of a break at punctuation, at the end of a segment or in a pause. Returns None for all other
    positions."""
    last = (before.text.rstrip(_QUOTES) or before.text)[-1]
    if before.ends_segment and last not in _SENTENCE_END:
        return _SEGMENT
    if last in _SENTENCE_END:
        return _AFTER_LINK if _abbreviated(before.text) else SENTENCE
    pause = after.start_ms - before.end_ms
    if pause >= _LONG_PAUSE_MS:
        return _LONG_PAUSE
    if last in _CLAUSE_END:
        return CLAUSE
    if after.spaced and before.cjk and after.cjk and not (last.isascii() or after.text[0].isascii()):
        return _CLAUSE_SPACE
    return _PAUSE if pause >= PAUSE_MS else None


def _abbreviated(text: str) -> bool:
    word = text.rsplit(maxsplit=1)[-1].lstrip(_QUOTES + "“‘(")
    return word.lower() in _ABBREVIATIONS or _INITIAL.fullmatch(word) is not None


def _cjk(before: Unit, after: Unit) -> float:
    if not after.parts[0].begins_word:
        return _INSIDE
    last, first = _bare(before), _bare(after)
    if not last or not first:
        return _ANYWHERE
    bound = _bound(last, first)
    return _free(last, first) if bound is None else bound


def _bound(last: str, first: str) -> float | None:
    """Return the cost of a break between two words that belong together by a rule. Returns None if no rule applies."""
    if _continues(last, first):
        return _INSIDE
    if first in _COMPLEMENTS:
        return _AFTER_LINK
    if _leads(last, first):
        return _AFTER_LEADER
    if first in _LONG_HEADS or first in _HEADS:
        return _HEAD if len(last) > 1 and is_cjk(last[-1]) and last[-1] not in "嘅咗的" else _INSIDE
    return None


def _continues(last: str, first: str) -> bool:
    """Whether a word ends the phrase of the word before it: a number of a date, a particle, or a direction or time
    after its verb."""
    return (
        (last[-1] in _OF_DATES and is_numeral(first[0]))
        or first in _PARTICLES
        or (first in ("去", "嚟", "來", "来") and len(last) > 1 and last[-1] in _DIRECTIONS)
        or (first in _TIMES and len(last) == 1 and is_cjk(last))
    )


def _leads(last: str, first: str) -> bool:
    """Whether a word belongs to the word after it."""
    return (
        last in _LEADERS
        or last in _MODALS
        or _MEASURED_BY.fullmatch(last) is not None
        or (last[-1] in "多少" and last[0] in "想要會会應应")
        or (first == "係" and last in _THOUGHTS)
    )


def _free(last: str, first: str) -> float:
    """Return the cost of a break between two words to which no rule applies. The cost is higher beside a word of one
    character, because such a word usually belongs to its neighbour."""
    cost = _ANYWHERE
    if first in _CLAUSE_BEGINS or first in _BEGINNERS:
        cost = _BEFORE_LINK
    elif len(first) == 1 and (first not in _PRONOUNS or last[-1] in _VERB_ENDS):
        cost += _SINGLE
    if last in _PRONOUNS:
        return cost + _SINGLE / 2
    if len(last) == 1 and is_cjk(last):
        cost += _SINGLE
    elif last[-1] in "嘅的咗緊住":
        cost -= 0.5
    return cost


def _bare(unit: Unit) -> str:
    """Return the text of a unit without punctuation."""
    return unit.text.strip(_BARE)


def _latin(before: Unit, after: Unit) -> float:
    word = before.text.split()[-1].lower()
    if word in _OPENERS or word in _LINKS:
        return _AFTER_LINK
    return _BEFORE_LINK if after.text.split()[0].lower() in _LINKS else _ANYWHERE
