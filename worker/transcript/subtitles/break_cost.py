"""Computes the cost of a line break, or of a break between two subtitle cues, between two units of text. No I/O.

Breaks after punctuation are cheapest, then breaks in pauses. Breaks within a phrase are expensive: after an article or
a preposition, between a Chinese verb and its particle (`食|咗`).
"""

from __future__ import annotations

import re
from typing import Final

from worker.transcript.subtitles.chinese_words import inside_word
from worker.transcript.subtitles.number_phrases import is_numeral
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
_INSIDE: Final = 8.0

_LONG_PAUSE_MS: Final = 1000
_SENTENCE_END: Final = frozenset(".!?。！？…")
_CLAUSE_END: Final = frozenset(",;:，、；：—–")
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
# Chinese particles that belong to the word before them.
_PARTICLES: Final = frozenset(
    "嘅咗緊住過晒埋返到哋啲呀啊喇啦囉㗎喎咩添吖呢嗎吧的了着著过们們得地里裡裏上下中內内外面先度"
)
# Characters between the numbers of a date or a time: 2011年|8月|3日, 三點|十五分.
_OF_DATES: Final = frozenset("年月點点時时")
# Chinese words that belong to the word after them.
_LEADERS: Final = frozenset(
    "唔不冇未沒没無无好最更太將将把被俾畀同和與与及喺在係是都也就又再先至嗰呢這这那每各我你佢他她它"
)


def cost(before: Unit, after: Unit) -> float:
    """Return the cost of a break between two units, from 0 (end of a sentence) to 8 (inside a Chinese word)."""
    marked = _marked(before, after)
    if marked is not None:
        return marked
    return _cjk(before, after) if before.cjk or after.cjk else _latin(before, after)


def _marked(before: Unit, after: Unit) -> float | None:
    """Return the cost of a break at punctuation, at the end of a segment or in a pause, or None in other positions."""
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
    last, first = before.text[-1], after.text[0]
    if not after.parts[0].begins_word or inside_word(last, first):
        return _INSIDE
    if last in _OF_DATES and is_numeral(first):
        return _INSIDE
    if first in _PARTICLES or last in _LEADERS:
        return _AFTER_LINK
    return _ANYWHERE


def _latin(before: Unit, after: Unit) -> float:
    word = before.text.split()[-1].lower()
    if word in _OPENERS or word in _LINKS:
        return _AFTER_LINK
    return _BEFORE_LINK if after.text.split()[0].lower() in _LINKS else _ANYWHERE
