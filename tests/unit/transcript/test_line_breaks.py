"""Positions of line breaks: words of the lexicon, phrases that stay whole, and UAX #14 for other scripts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.evaluate import breaks
from tests.unit.transcript.build import segment, transcript
from worker.transcript.model import Segment, Word
from worker.transcript.subtitles.cue_timing import cues
from worker.transcript.subtitles.style import PRESETS, RULES, Preset, Style
from worker.transcript.subtitles.text_units import units
from worker.transcript.subtitles.word_matching import match_words


def whole_parts(text: str, *, words: str | list[str] = "") -> list[str]:
    return [unit.text for unit in units(segment(text, 0, 4, words=words), RULES["plain"])]


def stays_whole(text: str, part: str) -> bool:
    """Whether no unit ends inside the first occurrence of `part`."""
    begin, at, ends = text.replace(" ", "").index(part.replace(" ", "")), 0, set()
    for unit in whole_parts(text):
        at += len(unit.replace(" ", ""))
        ends.add(at)
    return not ends & set(range(begin + 1, begin + len(part.replace(" ", ""))))


@pytest.mark.parametrize("punctuated", [True, False])
@pytest.mark.parametrize("preset", breaks.PRESETS)
def test_few_cues_of_the_marked_sentences_have_a_bad_break(preset: Preset, *, punctuated: bool) -> None:
    found = breaks.measure(breaks.load(breaks.SENTENCES, punctuated=punctuated), breaks.ours(preset))
    assert found.cues >= 100
    assert found.percent <= (4 if punctuated else 6), "\n".join(found.bad)


def test_the_measurement_counts_a_break_without_a_mark() -> None:
    sentence = breaks.marked("我哋|食/雲吞麵")
    assert breaks.measure([sentence], lambda _: [["我哋食", "雲吞麵"]]).bad == ()
    assert breaks.measure([sentence], lambda _: [["我哋食雲吞", "麵"]]).percent == 100


@pytest.mark.parametrize(
    "word",
    [
        *("雲吞麵", "瑪麗醫院", "茶餐廳", "冇得頂", "便利店", "入境事務處", "衞生署", "天文台", "會議紀錄"),
        *("珍珠奶茶", "海洋公園", "手提電腦", "荔枝角", "香港仔", "強積金"),
    ],
)
def test_words_of_the_lexicon_stay_whole(word: str) -> None:
    # Cues of any alignment: no line ends inside the word.
    for size in range(10):
        text = "我哋今日要去食啲好嘢呀"[:size] + word + "真係好正好方便大家都鍾意去嗰度"
        lines = [line for cue in cues(transcript(segment(text, 0, 7, words=()))) for line in cue.lines]
        assert any(word in line for line in lines), lines


@pytest.mark.parametrize(
    "phrase",
    [
        *("百分之十五", "四分之三", "三十八度五", "三個半鐘", "HK$五百", "十二月十五號", "第三志願", "iPhone 15 Pro"),
        *("out of memory", "2345 6789", "二八三三一二三四", "下星期五", "九點半", "過百萬", "US$1,200", "三年零六個月"),
        *("十二點六公里", "一萬二千蚊", "兩點四十五分", "百分之二點六", "二零二四年三月八號", "Galaxy S24 Ultra"),
        *(
            "下晝三點半",
            "凌晨十二點",
            "下午2時30分",
            "港幣三百元",
            "人民幣 500",
            "(852) 2345 6789",
            "三號風球",
            "林鄭月娥",
            "3 x 4",
        ),
        *("沙田第一城", "元朗十八鄉", "屯門三十六區", "西貢十四鄉"),  # places named by a number
    ],
)
def test_numbers_and_names_stay_whole(phrase: str) -> None:
    assert stays_whole(f"佢話{phrase}，", phrase)
    assert stays_whole(f"大家都知道{phrase}", phrase)


@pytest.mark.parametrize("sign", "⋯…‧•・／〜°℉］｝々ー」』）】》”’％℃！？，。、；：·～〕〗｠ヽゝ﹐﹑﹒﹔﹕﹖﹗﹚﹜﹞﹪")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.gate_sample(3)
def test_no_line_begins_with_closing_punctuation(sign: str, preset: Preset) -> None:
    for size in (14, 15, 16, 17):
        text = "呢度有好多人鍾意飲茶食點心行街"[:size] + sign + "跟住佢哋先返屋企瞓覺囉大家都係咁"
        lines = [line for cue in cues(transcript(segment(text, 0, 6)), Style(preset=preset)) for line in cue.lines]
        assert not any(line.startswith(sign) for line in lines)


@pytest.mark.parametrize("particle", "嘅㗎喎㖞嘞啫咋噃吓啩嘛咧啦喇囉呀咗番翻嚟落起開")
def test_a_particle_or_complement_follows_its_word(particle: str) -> None:
    for size in range(10, 18):
        text = "聽日我哋一齊去嗰邊食飯飲茶行街睇"[-size:] + particle + "大家都話嗰度啲嘢好好食又唔使等位"
        lines = [line for cue in cues(transcript(segment(text, 0, 6, words=()))) for line in cue.lines]
        assert not any(line.startswith(particle) for line in lines), lines


@pytest.mark.parametrize(
    "phrase", ["down 咗", "book 咗", "check 緊", "run 晒", "project 嘅", "cancel 㗎", "十號颶風信號"]
)
def test_a_particle_follows_its_english_word(phrase: str) -> None:
    for size in range(8, 18):
        text = "聽日我哋一齊去嗰邊食飯飲茶行街睇"[-size:] + phrase + "大家都話嗰度啲嘢好好食又唔使等位"
        lines = [line for cue in cues(transcript(segment(text, 0, 7, words=()))) for line in cue.lines]
        assert any(phrase in line for line in lines), lines


@pytest.mark.parametrize(("verb", "rest"), [("放入", "去"), ("行出", "嚟"), ("企埋", "去"), ("要多", "俾千幾蚊")])
def test_a_verb_of_two_words_stays_whole(verb: str, rest: str) -> None:
    for size in range(2, 15):
        found = cues(transcript(segment("佢" * size + verb + rest + "就得嘅喇喎點算好", 0, 6, words=())))
        assert verb + rest[0] in "".join(line + "|" for cue in found for line in cue.lines)


def test_words_of_the_service_win_over_the_lexicon() -> None:
    assert whole_parts("南京市長江大橋", words=["南京", "市長", "江大橋"]) == ["南京", "市長", "江大橋"]


@pytest.mark.parametrize("word", ["コーヒー", "ショッピングモール", "👨‍👩‍👧", "👍🏽", "🇭🇰", "e\u0301t"])
def test_other_scripts_follow_uax_14(word: str) -> None:
    text = f"好{word}を飲" * 12
    lines = [line for cue in cues(transcript(segment(text, 0, 20, words=()))) for line in cue.lines]
    assert "".join(lines).replace(" ", "").count(word) == 12
    assert sum(line.count(word) for line in lines) == 12


@pytest.mark.parametrize(
    "text", ["오늘은 날씨가 정말로 좋습니다", "인공지능은 우리생활을 바꿉니다", "AI는 3월에 발표되었습니다"]
)
def test_korean_breaks_between_words_only(text: str) -> None:
    for begin in range(8):
        repeated = "가" * begin + " " + " ".join([text] * 3)
        found = cues(transcript(segment(repeated.strip(), 0, 20, words=())))
        words = " ".join(line for cue in found for line in cue.lines).split()
        assert set(words) <= set(repeated.split())


def test_thai_breaks_at_the_words_of_the_service() -> None:
    thai = ["ประเทศ", "ไทย", "เป็น", "ประเทศ", "ที่", "สวยงาม", "และ", "มี", "อาหาร", "อร่อย", "มาก"] * 3
    text = "".join(thai)
    found = Segment(text=text, start=0, end=11, words=tuple(Word(w, k / 3, (k + 1) / 3) for k, w in enumerate(thai)))
    lines = [line for cue in cues(transcript(found)) for line in cue.lines]
    ends = {sum(map(len, thai[:k])) for k in range(len(thai) + 1)}
    assert len(lines) > 1
    assert {sum(map(len, lines[:k])) for k in range(len(lines) + 1)} <= ends


def test_a_text_that_differs_from_its_words_keeps_the_times_of_the_others() -> None:
    words = [("多謝", 0, 1), ("大家", 1, 2), ("跟住", 8, 9), ("落嚟", 9, 10)]
    said = Segment(text="多謝大家(掌聲)跟住落嚟", start=0, end=10, words=tuple(Word(*w) for w in words))
    times = {unit.text: (unit.start_ms, unit.end_ms) for unit in units(said, RULES["plain"])}
    assert times["多謝"] == (0, 1000)
    assert times["跟住"] == (8000, 9000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("共12,000個人去咗", ["共", "一萬二千", "個人", "去咗"]),
        ("佢話OK就去咗", ["佢話", "ok", "就", "去咗"]),
        ("有５個人去咗", ["有", "5", "個人", "去咗"]),
        ("我覺得colour好靚去咗", ["我", "覺得", "color", "好靚", "去咗"]),
    ],
)
def test_only_the_gap_is_interpolated(text: str, words: list[str]) -> None:
    said = segment(text, 0, float(len(words)), words=words)
    found = units(said, RULES["plain"])
    assert found[-1].text.endswith("去咗")
    last = [part for unit in found for part in unit.parts][-2]
    assert (last.text, last.start_ms) == ("去", 1000 * (len(words) - 1))
    assert all(a.start_ms <= b.start_ms for a, b in pairwise(found))


def test_a_long_loop_of_a_recognizer_is_not_compared_letter_by_letter() -> None:
    # The comparison of 4,000 equal characters takes 2.5 s.
    assert match_words("哈" * 4000, ["哈"] * 3999 + ["呀"]) == [None] * 4000
