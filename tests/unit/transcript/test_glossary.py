"""The glossary corrects whole terms, records the original, and leaves all other text unchanged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli import main
from tasks.client.producer import make_spec
from tasks.execution.attempt import glossary_of
from tasks.glossary_file import read_glossary
from tasks.job_spec import JobSpec, job_id, recorded
from tests.evaluate import glossary as evaluation
from worker.errors import BadJob, JobNewer
from worker.settings import load
from worker.transcript.glossary import MAX_CHARACTERS, MAX_TERMS, Glossary, checked_terms, correct_segments
from worker.transcript.model import Correction, Segment, Word
from worker.transcript.subtitles.chinese_words import is_word, word_begins

TERMS = checked_terms(
    [
        *(("陳大文", "陳大民"), ("港大", "香港大學"), ("iphone", "iPhone"), ("jon smith", "John Smith")),
        *(("Kong", "Hong Kong"), ("AI", "人工智能"), ("3", "三"), ("中大醫院", "中大醫院"), ("中大", "中文大學")),
        *(("cafe", "café"), ("C plus plus", "C++"), ("コーヒ", "コーヒー")),
    ]
)


def corrected(text: str) -> str:
    return Glossary(TERMS).correct(Segment(text=text, start=0, end=1)).text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("我叫陳大文。", "我叫陳大民。"),
        ("佢讀港大㗎", "佢讀香港大學㗎"),
        ("我部iphone壞咗", "我部iPhone壞咗"),
        ("JON  SMITH's desk, jon smith.", "John Smith's desk, John Smith."),
        ("Kong and Hong Kong", "Hong Kong and Hong Kong"),
        ("用AI寫", "用人工智能寫"),
        ("room 3, 3", "room 三, 三"),
        ("中大醫院同中大", "中大醫院同中文大學"),
        ("I write C plus plus.", "I write C++."),
        ("cafe", "café"),
    ],
)
def test_a_heard_term_is_corrected(text: str, wanted: str) -> None:
    assert corrected(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("maiphone iphones iphone_2 iphone15", "Jon Smithson", "KONGO", "AID MAIL", "3.5 and 12:30 and 1,300 and 30"),
        *("cafe\u0301", "香港大學", "John Smith", "陳大民", "", "Jon, Smith", "コーヒー"),
    ],
)  # fmt: skip
def test_a_longer_word_is_not_changed(text: str) -> None:
    segment = Segment(text=text, start=0, end=1)
    assert Glossary(TERMS).correct(segment) is segment


def test_a_term_matches_only_at_the_words_of_the_lexicon() -> None:
    def begins(text: str) -> list[int]:
        return {"我港大嘅": [0, 1, 3], "其中大部分": [0, 2]}[text]

    glossary = Glossary(TERMS, begins)
    texts = [glossary.correct(Segment(text=text, start=0, end=1)).text for text in ("我港大嘅", "其中大部分")]
    assert texts == ["我香港大學嘅", "其中大部分"]


LEXICON = [("陳大文", "陳大民"), ("港大", "香港大學"), ("中大", "中文大學"), ("意高", "宜高"), ("張家明", "張嘉明")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("陳大文話喺港大讀書", "陳大民話喺香港大學讀書"),
        ("中大嘅張家明係邊個", "中文大學嘅張嘉明係邊個"),
        ("香港大學其中大部分", "香港大學其中大部分"),
        ("同意高中生", "同意高中生"),
        ("發表意高見", "發表意高見"),
    ],
)
def test_the_lexicon_separates_a_name_from_a_longer_word(text: str, wanted: str) -> None:
    assert correct_segments([Segment(text=text, start=0, end=1)], LEXICON, word_begins, is_word)[0].text == wanted


def test_the_record_has_the_original_text_and_each_correction() -> None:
    segment = Segment(text="港大嘅陳大文", start=0, end=1)
    found = Glossary(TERMS).correct(segment)
    assert found.original_text == segment.text
    assert found.corrections == (
        Correction(heard="港大", wanted="香港大學", position=0),
        Correction(heard="陳大文", wanted="陳大民", position=5),
    )
    assert all(found.text[c.position :].startswith(c.wanted) for c in found.corrections)
    assert Segment.model_validate_json(found.model_dump_json()) == found
    assert Segment.model_validate_json('{"text": "a", "start": 0, "end": 1}').corrections == ()


@pytest.mark.parametrize(
    ("words", "text", "result"),
    [
        ("我 陳 大 文 呀", "我陳大文呀", [("我", 0, 1), ("陳大民", 1, 4), ("呀", 4, 5)]),
        ("我 陳大 文呀", "我陳大文呀", [("我", 0, 1), ("陳大民呀", 1, 3)]),
        ("港大 陳大文", "港大陳大文", [("香港大學", 0, 1), ("陳大民", 1, 2)]),
        ("Hi jon smith. Bye", "Hi jon smith. Bye", [("Hi", 0, 1), ("John", 1, 1.8), ("Smith.", 1.8, 3), ("Bye", 3, 4)]),
        ("港大陳大文", "港大陳大文", [("香港大學陳大民", 0, 1)]),
        ("別 的", "我陳大文呀", [("別", 0, 1), ("的", 1, 2)]),
    ],
)
def test_a_corrected_term_has_the_time_of_its_words(
    words: str, text: str, result: list[tuple[str, float, float]]
) -> None:
    timed = tuple(Word(word, n, n + 1, 0.5) for n, word in enumerate(words.split()))
    found = Glossary(TERMS).correct(Segment(text=text, start=0, end=len(timed), words=timed))
    assert [(w.text, w.start, w.end) for w in found.words] == result
    assert {w.confidence for w in found.words} == {0.5}


def test_10000_sentences_with_a_term_only_inside_longer_words_are_unchanged() -> None:
    rng = random.Random(17)
    inside = [heard for heard, _ in TERMS if heard.isascii()]
    sentences = []
    for _ in range(10_000):
        around = ["".join(rng.choices("我你佢哋今日返工食飯,。 ", k=rng.randint(1, 12))) for _ in range(2)]
        heard = rng.choice(inside)
        edges = rng.choices("0123456789" if heard.isdigit() else "abcxyz_", k=2)
        sentences.append(around[0] + edges[0] + heard + edges[1] + around[1])
    segments = [Segment(text=text, start=0, end=1) for text in sentences]
    assert all(one is other for one, other in zip(segments, correct_segments(segments, TERMS), strict=True))


PARTS = [("don", "Don"), ("can", "CAN"), ("mail", "Mail"), ("al", "AI"), ("uk", "United Kingdom"), ("D", "Dee")]
PARTS += [("ok", "okay"), ("3", "three"), ("pro", "Pro"), ("clock", "Clock"), ("c", "sea"), ("example", "Example")]


@pytest.mark.parametrize(
    "text",
    [
        *("I don't know.", "We can’t.", "You can`t.", "an e-mail", "Gamal al-Banna", "at ten o'clock", "c'mon"),
        *("see www.bbc.co.uk/news", "https://example.org/don?c=3", "write to don@example.org", "in R&D and b/c of it"),
        *("去卡拉OK", "卡啦ok", "贏咗3-2", "電話3-3264", "1960年3·15", "a pro-active plan", "example.com"),
    ],
)
def test_a_part_of_a_contraction_an_address_or_a_compound_is_no_term(text: str) -> None:
    assert Glossary(checked_terms(PARTS)).correct(Segment(text=text, start=0, end=1)).corrections == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("don's desk", "Don's desk"),
        ("the don-based firm", "the Don-based firm"),
        ("call don. Then mail", "call Don. Then Mail"),
        ("ok啦", "okay啦"),
        ("pro, example", "Pro, Example"),
    ],
)
def test_a_term_before_a_sign_is_corrected(text: str, wanted: str) -> None:
    assert Glossary(checked_terms(PARTS)).correct(Segment(text=text, start=0, end=1)).text == wanted


def test_long_texts_without_signs_are_searched_in_linear_time() -> None:
    terms = checked_terms([("don", "Don")])
    text = "don " + "a" * 50_000 + "我" * 50_000 + "." * 50_000 + "a-" * 50_000
    assert len(Glossary(terms).correct(Segment(text=text, start=0, end=1)).corrections) == 1


def test_the_measurement_reports_corrections_inside_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "terms.csv").write_text("港大,香港大學\n中大,中文大學\n", "utf-8")
    (tmp_path / "words").write_text("佢|讀|港大|㗎\n我|喺|港|大|行緊\n其中|大部分\n", "utf-8")
    (tmp_path / "plain").write_text("其中大部分人去過\n佢讀港大㗎\n", "utf-8")
    assert evaluation.main([str(tmp_path / name) for name in ("terms.csv", "words")]) == 0
    assert "3 sentences, 2 right corrections, 0 false" in capsys.readouterr().out
    assert evaluation.main([str(tmp_path / name) for name in ("terms.csv", "plain")]) == 1
    assert "false: 佢讀[港大]㗎" in capsys.readouterr().out


@pytest.mark.parametrize(("heard", "text"), [("kong", "\u212aong"), ("street", "\u017ftreet"), ("KONG", "kong")])
def test_all_forms_of_a_letter_match(heard: str, text: str) -> None:
    assert Glossary([(heard, "wanted")]).correct(Segment(text=text, start=0, end=1)).text == "wanted"


def test_a_thousand_short_terms_are_tried_by_their_first_character() -> None:
    """If all terms were tried at each position of the text, a transcript of an hour would take many seconds."""
    terms = [(chr(0x4E00 + number), "x") for number in range(1000)]
    tried = sum(len(patterns) for patterns in Glossary(terms)._by_first.values())
    assert tried == 1001  # with the wanted term
    assert max(map(len, Glossary(terms)._by_first.values())) == 1


def test_a_file_is_read_as_csv_or_tsv(tmp_path: Path) -> None:
    path = tmp_path / "terms"
    for text in ('\ufeffheard,wanted\n# names\n\n陳大文, 陳大民\n"a, b",c\n', "陳大文\t陳大民\r\na, b\tc\t\r\n"):
        path.write_text(text, encoding="utf-8")
        assert read_glossary(path) == (("陳大文", "陳大民"), ("a, b", "c"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a\n", "line 1: must have two columns"),
        (b"a,b\nc,d,e\n", "line 2: must have two columns"),
        (b"a,\n", "line 1: must have two columns"),
        (b"", "has no terms"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a,b\nA,c\n", "term 2: A has two corrections, b and c"),
        (b"...,b\n", "has no letter or digit"),
        (b"a" * 101 + b",b\n", "longer than 100 characters"),
        (b"a,b\x1b[0m\n", "control character"),
        (b"".join(b"a%d,b\n" % n for n in range(MAX_TERMS + 1)), "the maximum is 1000"),
        (b"".join(b"%s%d,b\n" % (b"a" * 90, n) for n in range(MAX_CHARACTERS // 90)), "the maximum is 20000"),
    ],
)
def test_an_invalid_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "terms.csv"
    path.write_bytes(content)
    with pytest.raises(BadJob, match=f"glossary .*terms.csv: .*{reason}"):
        read_glossary(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadJob, match="cannot be read: No such file"):
        read_glossary(tmp_path / "none.csv")


def test_every_command_that_queues_jobs_reads_the_glossary(tmp_path: Path) -> None:
    audio = tmp_path / "in"
    audio.mkdir()
    (audio / "a.wav").write_bytes(b"RIFF")
    for command in (["run", str(audio)], ["submit", str(audio)], ["watch", str(audio), "-o", str(tmp_path)]):
        for arguments, environment in ((["--glossary", "none.csv"], {}), ([], {"STT_GLOSSARY": "none.csv"})):
            service = {"STT_URL": "http://127.0.0.1:1", "STT_API_KEY": "key"}
            result = CliRunner().invoke(main, [*command, *arguments], env={**service, **environment})
            assert isinstance(result.exception, SystemExit | BadJob), result.output
            assert "glossary none.csv: cannot be read" in result.output + str(result.exception)


async def test_a_job_without_a_glossary_has_that_of_its_worker(tmp_path: Path) -> None:
    path = tmp_path / "terms.csv"
    path.write_text("heard,wanted\na,b\n")
    settings = load({"STT_GLOSSARY": str(path)})
    assert await glossary_of(make_spec("a.wav"), settings) == (("a", "b"),)
    assert await glossary_of(make_spec("a.wav", glossary=[("c", "d")]), settings) == (("c", "d"),)


def test_a_job_contains_its_glossary() -> None:
    plain, spec = make_spec("a.wav"), make_spec("a.wav", glossary=[("heard", "wanted"), ("heard ", "wanted")])
    assert spec.glossary == (("heard", "wanted"),)
    assert recorded(spec.model_dump_json()) == spec
    assert job_id(plain, "x") != job_id(spec, "x")
    assert "glossary" not in plain.model_dump_json()  # an older worker can run the job
    with pytest.raises(JobNewer):
        recorded(spec.model_dump_json().replace("glossary", "unknown_field"))
    with pytest.raises(BadJob, match=r"glossary: .*has no letter"):
        make_spec("a.wav", glossary=[("?", "b")])
    assert JobSpec.model_json_schema()["properties"]["glossary"]["maxItems"] == 10 * MAX_TERMS


LONGER = [
    ("東方", "East"),
    ("志明", "智明"),
    ("太子", "Prince"),
    ("天水", "Tin"),
    ("瑪麗", "Mary"),
    ("山東", "Shandong"),
]
LONGER += [
    ("24", "two dozen"),
    ("3", "three"),
    ("十五", "15"),
    ("C", "sea"),
    ("van", "Van"),
    ("covid", "COVID"),
    ("al", "Al"),
]
LONGER += [
    ("港大", "香港大學"),
    ("one", "One"),
    ("中電", "CLP"),
    ("香港", "HK"),
    ("荔枝", "lychee"),
    ("新城", "New Town"),
]
LONGER += [("將軍", "general"), ("積金", "fund"), ("太平", "peace")]


@pytest.mark.parametrize(
    "text",
    [
        *("喺東方188啊", "東方８", "陳志明講", "由黃志明", "太子道西", "住天水圍", "太子山"),
        *("返香港仔田灣", "左荔枝角美孚", "強積金架咋", "太平紳士", "新將軍", "新城電台", "聽新城日報話"),
        *("威廉瑪麗學院", "瑪麗伯德地", "桑德斯山東南面", "24億人民幣", "US$24", "3%", "£3", "#3", "3＋"),
        *("二十五個", "十五萬", "岡薩雷斯·瑪麗亞（", "one- on"),
        *("C#", "#C", "架van仔", "B餐同C餐", "covid-19", "4-C", "et al., 2015", "@one", "C記"),
    ],
)  # fmt: skip
def test_a_part_of_a_longer_name_or_number_is_no_term(text: str) -> None:
    found = Glossary(checked_terms(LONGER), word_begins, is_word).correct(Segment(text=text, start=0, end=1))
    assert found.corrections == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("志明話", "智明話"),
        ("呢張東方卡", "呢張East卡"),
        ("港大5年", "香港大學5年"),
        ("中電24日宣布", "CLPtwo dozen日宣布"),
        ("喺太子搭車", "喺Prince搭車"),
        ("同瑪麗講", "同Mary講"),
        ("山東南面", "Shandong南面"),
        ("坐van去", "坐Van去"),
        ("中電道歉", "CLP道歉"),
        ("香港網民", "HK網民"),
        ("去新城買荔枝", "去New Town買lychee"),
        ("喺新城銀行", "喺New Town銀行"),
    ],
)
def test_a_whole_name_or_number_is_corrected(text: str, wanted: str) -> None:
    assert (
        Glossary(checked_terms(LONGER), word_begins, is_word).correct(Segment(text=text, start=0, end=1)).text == wanted
    )


def test_a_word_that_continues_in_the_next_segment_is_no_term() -> None:
    def texts(pause_s: float, channel: str | None = None) -> list[str]:
        first = Segment(text="佢話住喺天水", start=0, end=1)
        second = Segment(text="圍嗰邊", start=1 + pause_s, end=2, channel=channel)
        return [segment.text for segment in correct_segments([first, second], LONGER, word_begins, is_word)]

    assert texts(0) == ["佢話住喺天水", "圍嗰邊"]
    assert texts(0.5) == texts(0, "agent") == ["佢話住喺Tin", "圍嗰邊"]
