"""Punctuation of the preset netflix-zh-hant: full-width, without stops at the ends of lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.transcript.build import segment, transcript
from worker.transcript.subtitles.cue_timing import cues
from worker.transcript.subtitles.netflix_punctuation import normalized
from worker.transcript.subtitles.style import Style

NETFLIX = Style(preset="netflix-zh-hant")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("去開會,佢話唔去,你話點算?我都唔知呀.", "去開會，佢話唔去，你話點算？我都唔知呀。"),
        ("佢話……我唔知...可能啦。。。", "佢話⋯⋯我唔知⋯⋯可能啦⋯⋯"),
        ('佢話"好呀",走咗', "佢話「好呀」，走咗"),
        ("佢話:“你講‘好’都得”", "佢話：「你講『好』都得」"),
        ("3.5 吋, 10:30 見!", "3.5 吋，10:30 見！"),
        ("It's OK, 你好", "It's OK，你好"),
        ("Hello, world. It's 3.5...", "Hello, world. It's 3.5..."),
        ("呢個(即係嗰個)都得", "呢個（即係嗰個）都得"),
        ("｢好｣､係｡", "「好」、係。"),
        ("你好﹐佢﹑我﹖﹙係﹚", "你好，佢、我？（係）"),  # small form variants
        *(
            (text, text)
            for text in ("9 a.m.之後", "去 U.S.A.讀書", "Dr. 陳", "Mr.李", "No. 三", "張 Ltd. 公司", "p.m. 先開")
        ),
    ],
)
def test_punctuation_of_chinese_text_is_full_width(text: str, expected: str) -> None:
    assert normalized(text) == expected


@given(st.text(alphabet="我哋去食飯,.?!…“”‘’\"'()、。「」 ab3", max_size=40))
def test_normalizing_changes_no_letter_and_is_idempotent(text: str) -> None:
    once = normalized(text)
    assert normalized(once) == once
    assert re.sub(r"\W", "", once) == re.sub(r"\W", "", text)


@pytest.mark.parametrize("text", ["「好。」", "蘋果、橙、", "好,", "好 。", "（好。）", "佢話「好，」"])
def test_no_line_ends_with_a_stop_or_a_comma(text: str) -> None:
    lines = [line for cue in cues(transcript(segment(text, 0, 5)), NETFLIX) for line in cue.lines]
    assert lines
    assert not re.search("[，。、；,.][」』）]*$", "\n".join(lines), re.MULTILINE)


@pytest.mark.parametrize("text", ["。", "...", "？！", "「」", "—"])
def test_punctuation_alone_has_no_cue(text: str) -> None:
    said = transcript(segment("你好", 0, 2), segment(text, 3, 5), segment("再見", 30, 32))
    assert [cue.lines for cue in cues(said, NETFLIX)] == [("你好",), ("再見",)]


def test_words_retain_their_times() -> None:
    said = transcript(segment("去開會,佢話唔去.", 0, 4, words=["去", "開會,", "佢話", "唔去."]))
    (cue,) = cues(said, NETFLIX)
    assert cue.lines == ("去開會 佢話唔去",)
    assert [part.start_ms for line in cue.parts for part in line if part.begins_word] == [0, 1000, 2000, 3000]
