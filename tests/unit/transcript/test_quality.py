"""Assessment of transcripts: correct transcripts pass, and each kind of wrong transcript is reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.transcript.model import Coverage, Gap, Quality, Segment, Word
from worker.transcript.quality import QualityInputs, assess, ranges_to_check
from worker.transcript.recognizer_loops import repetition, tokens_of

COVERAGE = Coverage(duration=60.0, sent=60.0, committed_until=60.0)
SENTENCE = "the meeting begins at nine and the minutes of last week are on the table"


def said(text: str, confidence: float | None = 0.9, start: float = 0.0, per_word_s: float = 0.3) -> Segment:
    """One segment. Chinese text must have spaces between its words."""
    words = tuple(
        Word(word, start + n * per_word_s, start + (n + 1) * per_word_s, confidence)
        for n, word in enumerate(text.split())
    )
    return Segment(text=text, start=start, end=start + len(words) * per_word_s, words=words)


def talk(count: int, confidence: float = 0.9, start: float = 0.0) -> list[Segment]:
    """Return `count` different sentences of ten words."""
    return [said(" ".join(f"word{n}x{k}" for k in range(10)), confidence, start + 3 * n) for n in range(count)]


def codes(segments: list[Segment], coverage: Coverage = COVERAGE, **inputs: object) -> list[str]:
    return [reason.code for reason in quality(segments, coverage, **inputs).reasons]


def quality(segments: list[Segment], coverage: Coverage = COVERAGE, **inputs: object) -> Quality:
    return assess(segments, coverage, QualityInputs(**inputs))  # type: ignore[arg-type]


def test_a_correct_transcript_needs_no_review() -> None:
    found = quality([said(SENTENCE)], language="en", detected="en", speech_share=0.9)
    assert not found.needs_review
    assert found.reasons == ()
    assert (found.confidence, found.confidence_low, found.language_fit) == (0.9, 0.9, 1.0)
    assert found.words_per_second == pytest.approx(3.33)
    assert (found.repeated_text, found.speech_without_text) == (0.0, 0.0)


def test_silence_without_text_needs_no_review() -> None:
    found = quality([])
    assert (found.needs_review, found.confidence, found.words_per_second, found.language_fit) == (False, None) + (
        None,
    ) * 2


@pytest.mark.parametrize("text", ["If you don t hear me speak up now please", "係 唔 知 點 解 嘅 啦 喎"])
def test_text_with_low_confidence_needs_a_review(text: str) -> None:
    assert codes([said(text, 0.45)]) == ["low_confidence"]
    assert codes([said(text, 0.75)]) == []


def test_the_low_confidence_of_digits_does_not_count() -> None:
    assert codes([said("four 1 five 502 七三九 9,8 6", 0.2)]) == []


def test_one_unusual_name_in_a_short_text_is_not_a_reason() -> None:
    assert codes([said("hello Whittemore", 0.55)]) == []
    assert codes([said("hello Whittemore", 0.3)]) == ["low_confidence"]


def test_a_bad_passage_in_a_good_hour_is_reported_with_its_times() -> None:
    segments = [*talk(100), *talk(12, 0.3, start=300.0), *talk(100, start=336.0)]
    (reason,) = quality(segments).reasons
    assert reason.code == "low_confidence"
    assert "longest from 30" in reason.text or "longest from 29" in reason.text


@pytest.mark.parametrize("times", [4, 10, 40])
@pytest.mark.parametrize(
    "sentence",
    [
        "thank you for watching",
        SENTENCE,
        "多 謝 大 家 收 睇",
        " ".join(f"{word}{n}" for n in range(4) for word in ("a", "bc", "def", "ghij", "kl", "mn")),
    ],
)
@pytest.mark.parametrize("apart", [True, False])
def test_a_looped_sentence_is_reported(sentence: str, times: int, apart: bool) -> None:
    one = [said(" ".join([sentence] * times))]
    some = [said(sentence, start=n * 10.0) for n in range(times)]
    found = quality([*talk(3), *(some if apart else one)])
    assert [reason.code for reason in found.reasons] == ["repetition"]
    assert f"{times} times" in found.reasons[0].text
    assert found.repeated_text > 0.2


@pytest.mark.parametrize(
    "text",
    [
        "no no no no no",
        "it was the best of times it was the worst of times it was the age of wisdom it was the age of foolishness",
        "係 呀 係 呀 係 呀 我 知 道",
        "row row row your boat gently down the stream merrily merrily merrily merrily life is but a dream",
        "we shall overcome we shall overcome we shall overcome some day",
        "你 好 你 好 呀 你 好 嘛",
    ],
)
def test_spoken_repetitions_are_not_reported(text: str) -> None:
    assert codes([said(text)]) == []


def test_two_speakers_who_say_the_same_are_not_a_loop() -> None:
    both = [said("yes that is right", start=n * 2.0).model_copy(update={"channel": "ab"[n % 2]}) for n in range(6)]
    assert codes(both) == []


@pytest.mark.parametrize(
    ("asked", "detected", "text", "wrong"),
    [
        ("yue", "en", SENTENCE, True),
        ("yue", None, SENTENCE, True),
        ("zh", "ja", "今 日 天 氣 好 好", True),
        ("yue", "zh", "今 日 天 氣 好 好", False),
        ("zh-HK", "yue", "今 日 天 氣 好 好", False),
        ("yue", None, "我 send 咗 個 email 俾 個 client 佢 話 okay", False),
        ("en", "zh", SENTENCE, True),
        ("en", None, "今 日 天 氣 好 好 呀 大 家 出 去 玩 啦", True),
        ("en-GB", "en", SENTENCE, False),
        ("eng", "en", SENTENCE, False),
        ("ja", None, "コーヒー を 飲みます 今日 は", False),
        ("ru", None, "добрый вечер дорогие друзья", False),
        ("ru", None, SENTENCE, True),
        ("fr", None, "bonjour à tous les amis", False),
        ("xx", None, SENTENCE, False),
        (None, "zh", SENTENCE, True),
        (None, "en", SENTENCE, False),
    ],
)
def test_text_in_another_language_is_reported(asked: str | None, detected: str | None, text: str, wrong: bool) -> None:
    assert codes([said(text)], language=asked, detected=detected) == (["language"] if wrong else [])


def test_missing_audio_sound_without_text_music_and_inverted_channels_are_reported() -> None:
    gap = Gap(start=10.0, end=22.5, reason="the service never answered")
    missing = COVERAGE.model_copy(update={"missing": (gap,)})
    assert codes([said(SENTENCE)], missing) == ["missing"]
    assert "12.5 s" in quality([said(SENTENCE)], missing).reasons[0].text
    assert codes([said(SENTENCE)], unanswered_s=8.0) == ["no_text"]
    assert codes([said(SENTENCE)], unanswered_s=0.4) == []
    assert codes([said(SENTENCE)], speech_share=0.02) == ["not_speech"]
    assert codes([said(SENTENCE)], speech_share=0.6) == []
    assert codes([said(SENTENCE)], channels="channels 1 and 2 cancel each other") == ["channels"]


def test_an_impossible_pace_is_reported() -> None:
    fast = said(" ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(120)), per_word_s=0.08)
    assert codes([fast]) == ["pace"]


@pytest.mark.parametrize(
    ("confidence", "per_word_s", "looks"), [(0.95, 0.3, False), (0.7, 0.3, True), (None, 0.3, False), (None, 2.0, True)]
)
def test_a_detector_checks_only_text_with_low_confidence(
    confidence: float | None, per_word_s: float, looks: bool
) -> None:
    stretches = ranges_to_check([said(SENTENCE, confidence, per_word_s=per_word_s)])
    assert bool(stretches) is looks
    assert all(end - start <= 8.0 for _, start, end in stretches)


def test_a_long_doubtful_text_is_sampled() -> None:
    stretches = ranges_to_check([said(SENTENCE, 0.5, start=60.0 * n, per_word_s=1.0) for n in range(100)])
    assert len(stretches) == 4
    assert ranges_to_check([]) == []


@given(st.lists(st.sampled_from("abcdefg"), max_size=60), st.integers(4, 30), st.integers(4, 12))
def test_a_loop_is_found_at_any_position(before: list[str], period: int, times: int) -> None:
    unit = [f"u{n}" for n in range(period)]
    found = repetition([*before, *unit * times, "end"])
    assert found.times >= times
    assert found.share >= (times - 1) * period / (len(before) + times * period + 1) - 1e-9


@given(st.text(max_size=300))
def test_any_text_is_assessed(text: str) -> None:
    segment = Segment(text=text, start=0.0, end=5.0)
    found = quality([segment], language="yue")
    assert 0.0 <= found.repeated_text <= 1.0
    assert found.language_fit is None or 0.0 <= found.language_fit <= 1.0


def test_a_chinese_character_counts_as_a_word_and_punctuation_does_not() -> None:
    assert tokens_of("我send咗 20 個E-mail,俾你!") == ["我", "send", "咗", "20", "個", "e", "mail", "俾", "你"]
