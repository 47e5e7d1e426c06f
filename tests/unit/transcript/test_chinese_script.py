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
        ("佢喺裡面著咗件衫，說得很著名", "hk", "佢喺裏面着咗件衫，説得很著名"),
        ("范小姐同皇后喺台灣食飯", "hk", "范小姐同皇后喺台灣食飯"),
        ("我哋喺軟件嘅裏面", "cn", "我哋喺软件嘅里面"),
        ("简体已经是了", "cn", "简体已经是了"),
        ("Nothing Chinese at 3.5%", "hk", "Nothing Chinese at 3.5%"),
    ],
)
def test_characters_change_and_words_do_not(text: str, script: Script, expected: str) -> None:
    assert converted(text, script) == expected


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
