from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from tests.unit.transcript.build import segment, transcript
from worker.transcript.model import Segment, Transcript, Word
from worker.transcript.subtitles.cjk_spacing import INVISIBLE, is_cjk
from worker.transcript.subtitles.cue import MAX_DELAY_MS, MIN_STEP_MS, Cue
from worker.transcript.subtitles.cue_layout import MAX_LINES
from worker.transcript.subtitles.cue_timing import clock, cues
from worker.transcript.subtitles.style import PRESETS, RULES, Preset, Style
from worker.transcript.subtitles.text_units import read_ms, units

PLAIN = RULES["plain"]
STYLES = st.sampled_from([Style(preset=preset) for preset in PRESETS])

LATIN = st.text(alphabet="abcdefgXYZ0123456789.,;:!?'-é&<>", min_size=1, max_size=16)
CHINESE = st.text(alphabet="我哋去咗中環搭天星小輪跟住喺尖沙咀食，。！？「」、iPhone300", min_size=1, max_size=30)
ANYTHING = st.text(min_size=1, max_size=12)
TEXT = st.lists(st.one_of(LATIN, CHINESE, ANYTHING), max_size=40).map(" ".join)
SECONDS = st.floats(0, 4000, allow_nan=False)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    text = draw(TEXT)
    start = draw(SECONDS)
    end = start + draw(st.floats(0, 40))
    kind = draw(st.sampled_from(["even", "none", "wild"]))
    if kind == "wild":  # words that differ from the text, with times out of order
        words = draw(st.lists(st.builds(Word, text=ANYTHING, start=SECONDS, end=SECONDS), max_size=8))
        return Segment(text=text, start=start, end=end, words=tuple(words))
    return segment(text, start, end, words=None if kind == "even" else ())


def visible(text: str) -> str:
    return "".join(c for c in text if not c.isspace() and c not in INVISIBLE and unicodedata.category(c) != "Cc")


def said(text: str, *, style: Style | None = None) -> str:
    """The visible characters of a text in a style."""
    if style is not None and style.rules.without_stops:  # its punctuation is replaced: see test_netflix_punctuation
        return "".join(c for c in visible(text) if unicodedata.category(c)[0] != "P" and c not in "~～…⋯｡､")
    return visible(text)


def only_punctuation(text: str) -> bool:
    return all(unicodedata.category(c) in ("Cc", "Cf") or unicodedata.category(c)[0] in "PZ" for c in text)


def shown(result: list[Cue]) -> str:
    return "\n".join(line for cue in result for line in cue.lines)


def limit(text: str, style: Style) -> int:
    return style.rules.cjk_columns if any(map(is_cjk, text)) else style.rules.columns


def longest(given_segments: list[Segment], style: Style) -> int:
    """Return the width of the widest unit: the text between two allowed breaks."""
    return max((unit.columns for each in given_segments for unit in units(each, style.rules)), default=0)


@given(st.lists(segments(), max_size=6), STYLES)
def test_no_text_is_lost_or_moved(given_segments: list[Segment], style: Style) -> None:
    in_time = sorted(given_segments, key=lambda s: s.start)
    before = said("".join(s.text for s in in_time if not only_punctuation(s.text)), style=style)
    assert said(shown(cues(transcript(*given_segments), style)), style=style) == before


@given(st.lists(segments(), max_size=6), STYLES)
def test_cues_are_in_order_without_overlap_and_with_the_minimum_gap(
    given_segments: list[Segment], style: Style
) -> None:
    result = list(cues(transcript(*given_segments), style))
    assert all(0 <= cue.start_ms < cue.end_ms <= cue.start_ms + style.rules.max_ms for cue in result)
    assert all(a.end_ms + style.rules.gap_ms <= b.start_ms for a, b in pairwise(result))
    for cue, after in pairwise(result):
        gap = after.start_ms - cue.end_ms
        held = cue.end_ms - cue.start_ms == style.rules.max_ms
        assert gap == style.rules.gap_ms or gap >= style.rules.chain_ms or held


@given(st.lists(segments(), max_size=4), STYLES)
def test_one_or_two_lines_within_the_columns(given_segments: list[Segment], style: Style) -> None:
    most = longest(given_segments, style)
    for cue in cues(transcript(*given_segments), style):
        assert 1 <= len(cue.lines) <= MAX_LINES
        assert all(line == line.strip() and line for line in cue.lines)
        for line in cue.lines:
            assert wcswidth(line) <= max(most, limit("".join(cue.lines), style))


@st.composite
def speech(draw: st.DrawFn) -> Transcript:
    """Return segments like those of a service: times in order, words at the speed of speech, pauses of any length."""
    at = draw(st.floats(0, 5))
    found = []
    for text in draw(st.lists(st.one_of(LATIN, CHINESE).map(lambda t: " ".join(t.split()) or "x"), min_size=1)):
        length = max(0.2, len(text) / 9)
        found.append(segment(text, at, at + length))
        at += length + draw(st.floats(0, 3))
    return transcript(*found)


def said_at(spoken: Transcript, style: Style) -> set[int]:
    """The start of each unit in ms."""
    return {unit.start_ms for each in spoken.segments for unit in units(each, style.rules)}


@given(speech(), STYLES)
def test_cues_of_speech_can_be_read(spoken: Transcript, style: Style) -> None:
    """Each cue is shown for the minimum time unless that delays the next cue too long."""
    result = list(cues(spoken, style))
    for cue, after in pairwise(result):
        assert cue.end_ms - cue.start_ms >= min(style.rules.min_ms, MIN_STEP_MS - style.rules.gap_ms)
        if cue.end_ms - cue.start_ms < style.rules.min_ms:
            assert after.start_ms == cue.end_ms + style.rules.gap_ms
            assert after.start_ms - MAX_DELAY_MS in said_at(spoken, style) or cue.end_ms - cue.start_ms < MIN_STEP_MS


@given(st.lists(st.text(alphabet="abcXYZ059'-.", min_size=1, max_size=12), min_size=1, max_size=60))
def test_latin_words_stay_whole(words: list[str]) -> None:
    result = list(cues(transcript(segment(" ".join(words), 3, 30))))
    assert shown(result).split() == ([] if only_punctuation(" ".join(words)) else words)
    assert all(wcswidth(line) <= PLAIN.columns for cue in result for line in cue.lines)


@given(st.text(alphabet="我哋去咗中環搭天星小輪跟住喺尖沙咀食", min_size=1, max_size=200))
def test_chinese_has_no_spaces_and_fits(text: str) -> None:
    result = list(cues(transcript(segment(text, 0, 60, words=text))))
    assert shown(result).replace("\n", "") == text
    assert all(wcswidth(line) <= PLAIN.cjk_columns for cue in result for line in cue.lines)


@given(st.text(alphabet="我哋去咗中環，。、！？「」", min_size=1, max_size=120))
def test_punctuation_stays_at_its_side(text: str) -> None:
    lines = shown(cues(transcript(segment(text, 0, 60, words=())))).split("\n")
    assert not any(line[0] in "，。、！？」" for line in lines[1:])
    assert not any(line[-1] == "「" for line in lines[:-1])


def test_mixed_text_is_spaced_and_its_words_stay_whole() -> None:
    text = "用 iPhone15 影咗300張相，send 俾 Peter睇"
    assert [cue.lines for cue in cues(transcript(segment(text, 0, 4, words=())))] == [
        ("用 iPhone15 影咗300張相，", "send 俾 Peter 睇")
    ]


def test_times_come_from_the_words() -> None:
    words = (Word(text="Hello", start=1.0, end=1.5), Word(text="world.", start=1.6, end=2.25))
    (cue,) = cues(transcript(Segment(text="Hello world.", start=0.0, end=9.0, words=words)))
    assert (cue.start_ms, cue.end_ms, cue.lines) == (1000, 2250, ("Hello world.",))
    assert [(part.text, part.start_ms, part.end_ms) for part in cue.parts[0]] == [
        ("Hello", 1000, 1500),
        ("world.", 1600, 2250),
    ]


def test_without_words_the_segment_shares_its_time() -> None:
    text = "one two three four five six seven eight nine ten. " * 3
    result = list(cues(transcript(segment(text, 10, 22, words=()))))
    assert len(result) > 1
    assert result[0].start_ms == 10_000
    assert result[-1].end_ms == 22_000


def test_lines_break_after_sentences() -> None:
    text = (
        "It was the best of times. It was the worst of times, it was the age of wisdom. It was the age of foolishness."
    )
    assert shown(cues(transcript(segment(text, 0, 12)))).split("\n") == [
        "It was the best of times.",
        "It was the worst of times,",
        "it was the age of wisdom.",
        "It was the age of foolishness.",
    ]


def times(*given_segments: Segment, style: Style | None = None) -> list[tuple[int, int, str]]:
    found = cues(transcript(*given_segments), style or Style())
    return [(cue.start_ms, cue.end_ms, " / ".join(cue.lines)) for cue in found]


def test_a_short_cue_is_shown_until_it_can_be_read() -> None:
    assert times(segment("Yes.", 1.0, 1.2), segment("No.", 4.0, 4.2)) == [(1000, 2000, "Yes."), (4000, 5000, "No.")]
    slow = "Incomprehensibilities, nevertheless."  # 36 columns, at 17 a second
    assert times(segment(slow, 1.0, 1.5)) == [(1000, 1000 + 2118, slow)]


def test_short_segments_share_a_cue() -> None:
    assert times(segment("Yes.", 1.0, 1.2), segment("No.", 1.4, 1.6)) == [(1000, 2000, "Yes. No.")]
    assert times(segment("好", 1.0, 1.2), segment("得。", 1.4, 1.6), segment("係", 1.7, 1.8)) == [
        (1000, 2000, "好 得。係")
    ]


def test_a_pause_short_enough_to_flicker_is_closed_and_a_longer_one_stays() -> None:
    first, second = "This is a sentence that takes its time.", "And this one comes some time after it."
    (_, end, _), (start, _, _) = times(segment(first, 0.0, 4.0), segment(second, 4.3, 8.0))
    assert (end, start) == (4300 - PLAIN.gap_ms, 4300)
    (_, end, _), (start, _, _) = times(segment(first, 0.0, 4.0), segment(second, 4.9, 8.5))
    assert (end, start) == (4000, 4900)


def of_channel(name: str, text: str, start: float, end: float) -> Segment:
    return segment(text, start, end, words=None if text.isascii() else text).model_copy(update={"channel": name})


def test_a_back_channel_does_not_end_the_cue_of_the_other_speaker() -> None:
    agent = of_channel("agent", "Let me have a look at that for you.", 1.0, 4.0)
    caller = of_channel("caller", "Thanks.", 2.0, 2.5)
    assert times(agent, caller) == [(1000, 4000, "Let me have a look at that for you."), (2000, 3000, "Thanks.")]
    assert [cue.channel for cue in cues(transcript(agent, caller))] == ["agent", "caller"]


@pytest.mark.parametrize("preset", PRESETS)
def test_text_of_a_call_stays_while_it_is_spoken_and_can_be_read(preset: Preset) -> None:
    client = of_channel("客人", "我想問吓我張信用卡上個月嘅結單點解會多咗收費", 0, 11)
    staff = [of_channel("職員", "嗯", 1.2, 1.5), of_channel("職員", "明白", 6.0, 6.4)]
    style = Style(preset=preset)
    found = list(cues(transcript(client, *staff), style))
    assert sum(len(line.lstrip("-")) for cue in found for line in cue.lines) == len(client.text) + 3
    for cue in found:
        assert cue.end_ms - cue.start_ms >= sum(read_ms(line, style.rules) for line in cue.lines) - 1
    for second in range(1, 11):  # something of the client is on the screen at all times
        assert any(
            cue.start_ms <= second * 1000 <= cue.end_ms
            for cue in found
            if not set("".join(cue.lines)) <= set("-嗯明白")
        )


def test_two_speakers_at_once_share_a_cue_with_hyphens_where_the_preset_says_so() -> None:
    client, staff = of_channel("客人", "我張卡多咗收費", 0, 3), of_channel("職員", "明白", 1.2, 1.6)
    assert times(client, staff, style=Style(preset="netflix-zh-hant")) == [(0, 3000, "-我張卡多咗收費 / -明白")]
    assert times(client, staff) == [(0, 3000, "我張卡多咗收費"), (1200, 2200, "明白")]


@given(st.lists(segments(), max_size=6), STYLES)
def test_different_speakers_never_share_a_line(given_segments: list[Segment], style: Style) -> None:
    """Each line has the text of one channel: all channels together give the same characters, in cues in order."""
    parts = [s.model_copy(update={"channel": "ab"[k % 2]}) for k, s in enumerate(given_segments)]
    result = list(cues(transcript(*parts), style))
    assert [cue.start_ms for cue in result] == sorted(cue.start_ms for cue in result)
    assert all(cue.end_ms > cue.start_ms for cue in result)
    assert all(line.startswith("-") for cue in result if cue.channel is None for line in cue.lines)
    shown_lines = [line if cue.channel else line.removeprefix("-") for cue in result for line in cue.lines]
    alone = [cue for name in "ab" for cue in cues(transcript(*(s for s in parts if s.channel == name)), style)]
    before = sorted("".join(line for cue in alone for line in cue.lines).replace(" ", ""))
    if style.rules.hyphens:  # another division into lines omits other marks
        before = [char for char in before if not only_punctuation(char)]
        shown_lines = ["".join(char for char in line if not only_punctuation(char)) for line in shown_lines]
    assert sorted("".join(shown_lines).replace(" ", "")) == before


@given(st.lists(segments(), max_size=8), st.sampled_from(("netflix-en", "netflix-zh-hant")))
def test_no_cues_overlap_in_the_presets_of_netflix(given_segments: list[Segment], preset: Preset) -> None:
    rules = Style(preset=preset).rules
    parts = [s.model_copy(update={"channel": "abc"[k % 3]}) for k, s in enumerate(given_segments)]
    result = list(cues(transcript(*parts), Style(preset=preset)))
    assert all(0 <= cue.start_ms < cue.end_ms <= cue.start_ms + rules.max_ms for cue in result)
    assert all(a.end_ms + rules.gap_ms <= b.start_ms for a, b in pairwise(result))
    for cue, after in pairwise(result):
        gap = after.start_ms - cue.end_ms
        assert gap == rules.gap_ms or gap >= rules.chain_ms or cue.end_ms - cue.start_ms == rules.max_ms


CALL = "我張信用卡上個月多咗一筆收費我都唔知係咩嚟想問吓可唔可以取消或者退返錢俾我呀唔該晒你"


@given(st.data(), st.sampled_from(("netflix-en", "netflix-zh-hant")))
@settings(max_examples=40)
def test_a_call_with_back_channels_is_read_in_time_and_stays_on_the_screen(data: st.DataObject, preset: Preset) -> None:
    """One speaker speaks 4.5 characters per second; the other speaker says a short word every few seconds."""
    sizes = data.draw(st.lists(st.integers(6, len(CALL)), min_size=1, max_size=4))
    client, at = [], 0.0
    for size in sizes:
        client.append(of_channel("客人", CALL[:size], at, at + size / 4.5))
        at += size / 4.5 + data.draw(st.floats(0.3, 2))
    staff, when = [], data.draw(st.floats(0.5, 4))
    while when < at:
        staff.append(of_channel("職員", data.draw(st.sampled_from(["嗯", "明白", "係", "好"])), when, when + 0.4))
        when += data.draw(st.floats(2.5, 8))
    style = Style(preset=preset)
    found = list(cues(transcript(*client, *staff), style))
    assert all(a.end_ms < b.start_ms for a, b in pairwise(found))
    lines = [line.removeprefix("-") for cue in found for line in cue.lines]
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(s.text for s in (*client, *staff)))
    for cue in found:
        assert cue.end_ms - cue.start_ms >= sum(read_ms(line.removeprefix("-"), style.rules) for line in cue.lines) - 1
    starts = [(cue, part.start_ms) for cue in found for line in cue.parts for part in line]
    assert sum(cue.start_ms <= ms < cue.end_ms for cue, ms in starts) >= 0.8 * len(starts)


def test_a_long_answer_and_a_short_one_take_turns_on_two_lines() -> None:
    client = of_channel("客人", "我張卡上個月多咗一筆收費唔知係咩嚟想取消", 0, 5)
    staff = [of_channel("職員", "嗯", 1.2, 1.5), of_channel("職員", "明白", 3.9, 4.2)]
    found = list(cues(transcript(client, *staff), Style(preset="netflix-zh-hant")))
    assert [cue.lines[1] for cue in found if len(cue.lines) > 1] == ["-嗯", "-明白"]


def test_the_first_line_has_room_for_the_channel_name() -> None:
    text = "All of this is said without any pause at all by one of them."
    said_by = segment(text, 0, 5).model_copy(update={"channel": "customer"})
    (cue,) = cues(transcript(said_by), named=True)
    assert len("customer: " + cue.lines[0]) <= PLAIN.columns
    assert len(cue.lines) == MAX_LINES


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("橋下垂直淨空只有十五米高而且兩邊都冇位俾人行", "十五米"),
        ("個場地嘅租金大約係每個月35000蚊左右唔包水電費用", "35000蚊"),
        ("由呢度行去到最近嘅地鐵站大概要走3.5公里咁遠路程", "3.5公里"),
        ("成件事由開始到完結一共用咗三個半月先至做得完晒佢", "三個"),
        ("呢本書嘅作者話佢係喺二零一七年嗰陣先開始寫作嘅", "二零一七年"),
        ("It takes them no less than about fifteen kilometres to come round again", "fifteen kilometres"),
        ("They sold it in the end for something like 3.5 million dollars to them", "3.5 million dollars"),
        ("You can call the office all day long on 2345 6789 or come along and see", "2345 6789"),
    ],
)
def test_no_break_separates_a_number_from_its_unit(text: str, whole: str) -> None:
    for start in range(len(text) // 2):  # for any position of the line breaks
        rest = text[start:]
        assert whole in shown(cues(transcript(segment(rest, 0, 7, words=())))) or whole not in rest


def test_a_break_may_separate_numbers_that_are_said_one_by_one() -> None:
    words = tuple(Word(text=c, start=2.0 * k, end=2.0 * k + 0.4) for k, c in enumerate("一二三四五六七八九十"))
    result = list(cues(transcript(Segment(text="一二三四五六七八九十", start=0, end=19, words=words))))
    assert len(result) == 10
    assert all(PLAIN.min_ms <= cue.end_ms - cue.start_ms <= PLAIN.max_ms for cue in result)


def test_the_chinese_preset_leaves_out_commas_and_stops() -> None:
    style = Style(preset="netflix-zh-hant")
    text = "你好，歡迎收聽今日嘅節目。「好。」佢話：點解呀？"
    (cue,) = cues(transcript(segment(text, 0, 6, words=())), style)
    assert " ".join(cue.lines) == "你好 歡迎收聽今日嘅節目 「好。」佢話：點解呀？"
    assert list(cues(transcript(segment("。", 0, 1)), style)) == []


def test_the_presets_follow_the_netflix_style_guides() -> None:
    english, chinese = RULES["netflix-en"], RULES["netflix-zh-hant"]
    assert (english.columns, english.latin_per_s) == (42, 20)
    assert (chinese.cjk_columns, chinese.cjk_per_s) == (2 * 16, 11)
    for rules in (english, chinese):
        assert (rules.min_ms, rules.max_ms) == (834, 7000)
        assert 2 / 24 * 1000 <= rules.gap_ms < 3 / 24 * 1000


def test_long_speech_is_divided_into_several_cues() -> None:
    result = list(cues(transcript(segment("slow " * 10, 0, 30))))
    assert len(result) > 1
    assert all(c.end_ms - c.start_ms <= PLAIN.max_ms for c in result)


def test_an_overwide_word_stays_whole() -> None:
    word = "https://example.com/" + "a" * 60
    assert shown(cues(transcript(segment(f"see {word} now", 0, 3)))).split() == ["see", word, "now"]


def test_a_transcript_without_text_gives_no_cues() -> None:
    assert list(cues(transcript())) == []
    assert list(cues(transcript(segment("  \n ", 0, 3)))) == []


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "00:00:00.000"), (3_599_999, "00:59:59.999"), (360_000_001, "100:00:00.001")]
)
def test_times_are_formatted_with_hours_minutes_seconds_and_milliseconds(ms: int, text: str) -> None:
    assert clock(ms, ".") == text
