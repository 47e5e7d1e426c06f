from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.transcript.subtitles.cjk_spacing import INVISIBLE, tidy

MIXED = st.text(alphabet="我哋去中環，。「」（） abcXY019.%-$한글のカ\n\t\x00é́", max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我send咗個email俾你", "我 send 咗個 email 俾你"),
        ("用 iPhone15 影咗 300 張相", "用 iPhone15 影咗300張相"),
        ("桥下 垂直 净空 15 米 该 项目", "桥下垂直净空15米该项目"),
        ("你 好 嗎 ， 我 好 好 。", "你好嗎，我好好。"),
        ("今日好熱 我哋去游水 好唔好", "今日好熱 我哋去游水 好唔好"),
        ("共 $3.5 億 ， 升 5% 。", "共$3.5億，升5%。"),
        ("佢着件T恤去MTR站用5G上網", "佢着件T恤去 MTR 站用 5G 上網"),
        ("「Hello World」係英文", "「Hello World」係英文"),
        ("日本語 の テキスト です", "日本語のテキストです"),
        ("한국어 는 띄어 쓴다", "한국어 는 띄어 쓴다"),
        ("  two\nlines\t\x00here ", "two lines here"),
        ("", ""),
        ("好呀 係呀 唔該 再見", "好呀 係呀 唔該 再見"),
        ("你 好 呀 我 係 阿明", "你好呀我係阿明"),
        ("唔該晒 拜拜", "唔該晒 拜拜"),
        ("\ufeff我\u202e哋\u2066去\u200f街", "我哋去街"),
        ("👨‍👩‍👧 family", "👨‍👩‍👧 family"),
        ("\x00", ""),
    ],
)
def test_spacing_follows_hong_kong_subtitles(text: str, expected: str) -> None:
    assert tidy(text) == expected


@given(st.one_of(MIXED, st.text(max_size=30)))
def test_tidy_changes_only_spaces_and_invisible_characters_and_is_idempotent(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once
    assert "  " not in once
    assert once == once.strip()
    assert _visible(once) == _visible(text)


def _visible(text: str) -> str:
    return "".join(c for c in text if not c.isspace() and c not in INVISIBLE and unicodedata.category(c) != "Cc")
