"""Written Chinese, English and mixed scripts are reported where Cantonese was requested, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluate import dialect as evaluation
from tests.support.rendering import render
from tests.unit.transcript.build import transcript
from worker.language_codes import is_cantonese
from worker.transcript.dialect import dialect_of
from worker.transcript.mixed_scripts import mixed_scripts
from worker.transcript.model import Coverage, Quality, Segment
from worker.transcript.quality import QualityInputs, assess
from worker.transcript.subtitles.style import Style

COVERAGE = Coverage(duration=60.0, sent=60.0, committed_until=60.0)
CANTONESE = [
    "我哋聽日先再傾啦，而家唔得閒。",
    "佢話個客仲未覆 email，等多兩日先。",
    "你食咗飯未呀？不如一齊去飲茶。",
    "呢件事我都唔係好清楚，你問下其他人。",
]
WRITTEN = ["他們昨天已經離開了這裡。", "我們還沒有找到答案。", "這不是他的問題，也不是你的。", "請你在這裡等我回來。"]
ENGLISH = ["We do not know what happened to the old car.", "She said that she would call you back later."]


def said(*texts: str, channel: str | None = None) -> list[Segment]:
    return [Segment(text=t, start=5.0 * n, end=5.0 * n + 4, channel=channel) for n, t in enumerate(texts)]


def quality(segments: list[Segment], language: str | None = "yue", **inputs: object) -> Quality:
    return assess(segments, COVERAGE, QualityInputs(language=language, **inputs))  # type: ignore[arg-type]


def codes(*texts: str, language: str | None = "yue", **inputs: object) -> list[str]:
    found = [reason.code for reason in quality(said(*texts), language, **inputs).reasons]
    return [code for code in found if code != "repetition"]  # some texts here are repeated to make them long


def test_sentences_of_each_kind_are_reported_as_their_kind() -> None:
    sentences = evaluation.load([evaluation.SENTENCES])
    assert len(sentences) >= 50
    for result in evaluation.measure(sentences):
        assert result.good, result
        assert result.false == ()


def test_the_command_fails_where_the_check_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "# comment\nwritten\t佢哋唔喺度\nenglish\tThis is not what I said to you.\n"
    (tmp_path / "a.txt").write_text(lines, "utf-8")
    assert evaluation.main([str(tmp_path), "--list"]) == 1
    out = capsys.readouterr().out
    assert "missed: 佢哋唔喺度" in out
    assert "english        1 sentences  precision 1.0000  recall 1.0000" in out
    (tmp_path / "a.txt").write_text("他們不在這裡\n", "utf-8")
    with pytest.raises(ValueError, match=r"a\.txt, line 1"):
        evaluation.load([tmp_path])


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        *((text, "cantonese") for text in CANTONESE),
        *((text, "written") for text in WRITTEN),
        *((text, "english") for text in ENGLISH),
        ("的士司機於是話不過其他人都係咁。", "cantonese"),
        ("呢個是我的書，唔係佢的。", "cantonese"),
        ("我覺得他的意思係唔得。", "cantonese"),
        ("他们昨天已经离开了这里。", "written"),
        ("佢哋寻日已经走咗喇。", "cantonese"),
        ("佢地系度等紧我地。", "cantonese"),
        ("《黑夜不再來》", "neutral"),
        ("目的地、現在、其他、和平、參與", "neutral"),
        ("好", "neutral"),
        ("是的。", "neutral"),
        ("二零二六年十一月二十九號", "neutral"),
        ("MacBook Pro, iPad Air, Apple Watch Ultra", "neutral"),
        ("OK thank you very much see you", "neutral"),
        ("", "neutral"),
    ],
)
def test_the_dialect_of_a_text(text: str, dialect: str) -> None:
    assert dialect_of(text) == dialect


def test_each_reason_names_its_share_its_place_and_a_remedy() -> None:
    (written,) = quality(said(*CANTONESE, *WRITTEN)).reasons
    assert written.code == "dialect"
    assert "longest from 20.0 to 39.0 s" in written.text
    assert "read aloud or sung" in written.text
    assert "--model large-v3" in written.text
    (english,) = quality(said(*ENGLISH)).reasons
    assert english.code == "language"
    assert english.text.startswith("100% of the text is English")
    (script,) = quality(said("我哋今日讲下呢個問題", "佢话唔使開會")).reasons
    assert script.code == "script"
    assert "--script hk" in script.text


@pytest.mark.parametrize("language", ["yue", "zh-yue", "yue-Hant-HK", "zh_HK", "zh-Hant-HK", "Cantonese", "zh-MO"])
def test_all_codes_of_cantonese_request_the_check(language: str) -> None:
    assert is_cantonese(language)
    assert codes(*WRITTEN, language=language) == ["dialect"]


@pytest.mark.parametrize("language", ["zh", "cmn", "zh-CN", "zh-TW", "en", "zh-cmn-Hant-HK", None])
def test_other_languages_are_not_checked(language: str | None) -> None:
    assert "dialect" not in codes(*WRITTEN, language=language)


def test_quotations_and_a_guest_who_speaks_english_in_a_long_talk_are_no_reason() -> None:
    assert codes(*CANTONESE * 6, WRITTEN[0], ENGLISH[0], *CANTONESE * 6) == []


def test_short_segments_of_written_chinese_are_evidence_together() -> None:
    assert codes("是的。", "不知道。", "他走了。", "還沒有。", "這樣啊。") == ["dialect"]
    assert codes("好。", "明白。", "收到。", "早晨。", "拜拜。") == []


def test_a_channel_is_not_evidence_for_the_other_channel() -> None:
    both = [*said(*CANTONESE, channel="a"), *said(*WRITTEN, channel="b")]
    assert [reason.code for reason in quality(both).reasons] == ["dialect"]


def test_product_names_as_the_whole_text_are_no_reason() -> None:
    assert codes("Samsung Galaxy S24 Ultra") == []
    assert codes("bonjour à tous les amis qui regardent cette émission de télévision avec nous ce soir") == ["language"]


@pytest.mark.parametrize("text", ["我瞓着咗。", "呢個情况好煩。", "佢响屋企。", "食吓嘢先。", "琼姐同埋恒仔"])
def test_characters_that_people_type_in_traditional_text_do_not_mix_scripts(text: str) -> None:
    assert mixed_scripts(text + "我哋聽日開會，講下呢個問題。") is None


def test_few_foreign_characters_in_a_long_text_do_not_mix_scripts() -> None:
    assert mixed_scripts("講這個問題。" * 200 + "讲") is None
    assert mixed_scripts("講這個問題。" * 20 + "讲这个问题。") is not None
    assert mixed_scripts("佢哋唔喺度，嗰啲嘢冇咗。讲下这个问题。") is None


def test_files_in_one_script_do_not_have_the_reason_for_mixed_scripts() -> None:
    segments = said("我哋今日讲下呢個問題", "佢话唔使開會")
    found = quality(segments)
    document = transcript(*segments).model_copy(update={"quality": found})
    assert "Please review: the text mixes" in render(document, "html")
    assert "the text mixes" not in render(document, "html", Style(script="hk"))
    assert '"needs_review": false' in render(document, "json", Style(script="hk"))
    assert codes("我哋今日讲下呢個問題", one_script=True) == []


def test_another_detected_language_and_the_dialect_are_separate_reasons() -> None:
    assert codes(*ENGLISH, detected="en") == ["language"]
    assert codes(*WRITTEN, detected="ja") == ["language", "dialect"]
