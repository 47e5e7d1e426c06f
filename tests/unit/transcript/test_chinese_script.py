from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.transcript.build import segment, transcript
from worker.transcript.subtitles.chinese_script import in_script
from worker.transcript.subtitles.style import SCRIPTS, Script

MIXED = st.text(
    alphabet="我哋去咗中環軟件软件台臺里裏裡为爲為着著范後后，。「」 iPhone0123456789%.", min_size=1, max_size=60
)


def converted(text: str, script: Script) -> str:
    return in_script(transcript(segment(text, 0, 5)), script).text


@pytest.mark.parametrize(
    ("text", "script", "expected"),
    [
        ("桥下垂直净空15米，该项目于2011年8月完工", "hk", "橋下垂直淨空15米，該項目於2011年8月完工"),
        ("为什么软件里面没有", "tw", "為什麼軟件裡面沒有"),
        ("佢喺裏面着咗件衫，要去衞生署", "tw", "佢喺裡面著咗件衫，要去衛生署"),
        ("佢喺裡面著咗件衫，說得很著名", "hk", "佢喺裏面着咗件衫，說得很著名"),
        ("范小姐同皇后喺台灣食飯", "hk", "范小姐同皇后喺台灣食飯"),
        ("我哋喺軟件嘅裏面", "cn", "我哋喺软件嘅里面"),
        ("简体已经是了", "cn", "简体已经是了"),
        ("Nothing Chinese at 3.5%", "hk", "Nothing Chinese at 3.5%"),
    ],
)
def test_characters_change_and_words_do_not(text: str, script: Script, expected: str) -> None:
    assert converted(text, script) == expected


UNCHANGED_IN_HONG_KONG = (
    *(
        "我姓余，你可以叫我阿余。",
        "于先生",
        "范小姐同姜太傾緊",
        "搵說麵群床戶溫",
        "沈生話佢唔得閒",
        "后海灣",
        "裡面有衛生紙",
        "揾工",
        "講吓笑",
    ),
    *("搞掂晒", "唔好郁", "岳父", "曲奇", "系統故障", "中文系", "只係咁", "表示歡迎"),
)


@pytest.mark.parametrize("text", UNCHANGED_IN_HONG_KONG)
def test_traditional_text_as_typed_in_hong_kong_is_left_alone(text: str) -> None:
    assert converted(text, "hk") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("唔系", "唔係"), ("都系", "都係"), ("即系", "即係"), ("但系", "但係"), ("搞掂晒喇，复诊", "搞掂晒喇，覆診")),
        *(
            ("呢只股票", "呢隻股票"),
            ("手表", "手錶"),
            ("你养咗几只猫", "你養咗幾隻貓"),
            ("我只系想问下", "我只係想問下"),
        ),
        *(
            ("关系同系统", "關係同系統"),
            ("今日晒太阳晒到黑晒", "今日曬太陽曬到黑晒"),
            ("佢好忧郁，唔郁", "佢好憂鬱，唔郁"),
        ),
        *(
            ("飞发定系发现", "飛髮定係發現"),
            ("点钟，钟意", "點鐘，鍾意"),
            ("冲凉同冲突", "沖涼同衝突"),
            ("尽快回复", "盡快回覆"),
        ),
        *(
            ("我姓余，余先生讲，其余", "我姓余，余先生講，其餘"),
            ("关于于小姐嘅余额", "關於于小姐嘅餘額"),
            ("阿姜约咗范医生", "阿姜約咗范醫生"),
        ),
        *(
            ("云吞面同面包，饼干", "雲吞麵同麵包，餅乾"),
            ("老板话铺头冇人", "老闆話舖頭冇人"),
            ("吓？吓亲你", "吓？嚇親你"),
        ),
        *(
            ("系啊，放假系咁", "係啊，放假係咁"),
            ("𠮶只狗，哩只唔系", "嗰隻狗，哩隻唔係"),
            ("我哋去咗這间铺头，这个", "我哋去咗這間舖頭，這個"),
        ),
    ],
)
def test_cantonese_words_and_surnames_get_the_characters_of_hong_kong(text: str, expected: str) -> None:
    assert converted(text, "hk") == expected


def test_the_script_of_each_segment_is_judged_by_itself() -> None:
    before = transcript(
        *(segment("我哋聽日開會傾呢個問題", k, k + 1) for k in range(9)), segment("今日我们讲下呢个问题", 9, 10)
    )
    assert in_script(before, "hk").segments[9].text == "今日我們講下呢個問題"
    assert in_script(before, "hk").segments[:9] == before.segments[:9]


@pytest.mark.parametrize("text", ["嗰", "𨋢", "嗰個𨋢壞咗", "咗嘢嘅喺啲冇佢哋嚟㗎噃𠺢𡃉"])
def test_simplified_text_has_only_characters_of_common_fonts(text: str) -> None:
    for before, after in zip(text, converted(text, "cn"), strict=True):
        assert after == before or after.encode("gbk")


def test_without_a_script_the_transcript_is_unchanged() -> None:
    before = transcript(segment("软件", 0, 1))
    assert in_script(before, None) is before


def test_words_get_the_characters_they_have_in_the_text() -> None:
    """Converted alone, the words 皇 and 后 would become 皇 and 後."""
    before = transcript(segment("皇后来了", 0, 2, words="皇后来了"))
    after = in_script(before, "hk").segments[0]
    assert after.text == "皇后來了"
    assert "".join(word.text for word in after.words) == "皇后來了"
    assert [(w.start, w.end) for w in after.words] == [(w.start, w.end) for w in before.segments[0].words]


def test_words_that_are_not_in_the_text_are_converted_alone() -> None:
    after = in_script(transcript(segment("软件", 0, 2, words=["软", "X", "体"])), "hk").segments[0]
    assert [word.text for word in after.words] == ["軟", "X", "體"]


@given(MIXED, st.sampled_from(SCRIPTS))
def test_digits_latin_and_length_stay(text: str, script: Script) -> None:
    after = converted(text, script)
    assert len(after) == len(text)
    assert re.findall(r"[ -~，。「」]", after) == re.findall(r"[ -~，。「」]", text)
