"""The calculations of the evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evaluate import corpus, score, script
from tests.evaluate.__main__ import evaluate, main
from tests.evaluate.corpus import Recording
from tests.evaluate.transcribers import Heard, Run


@pytest.mark.parametrize(
    ("said", "heard", "errors", "words"),
    [
        ("The cat sat.", "the cat sat", 0, 3),
        ("I'm at the 3rd door", "I am at the third door, uh", 0, 6),
        ("red green blue", "red blue", 1, 3),
        ("the cat sat", "a cat sat down", 2, 3),
        ("the cat sat", "", 3, 3),
        ("", "something heard", 2, 0),
        # Digits count one by one, however they are grouped.
        ("one two three four five", "12, 345.", 0, 5),
        ("call 4 5 6", "call 457", 1, 4),
        ("twenty three", "23", 0, 2),
        ("four one five", "4, one, 5", 0, 3),
        ("one ring", "1 ring", 0, 2),
    ],
)
def test_word_errors(said: str, heard: str, errors: int, words: int) -> None:
    assert score.word_errors(said, heard) == score.WordErrors(errors, words)


def test_character_errors_ignore_script_punctuation_and_spaces() -> None:
    assert score.errors_of("yue", "我哋喺香港", "我哋, 喺 香港。") == score.WordErrors(0, 5)
    assert score.errors_of("yue", "佢话", "佢話唔") == score.WordErrors(1, 2)
    assert score.errors_of("en", "red green", "red") == score.WordErrors(1, 2)


def test_word_starts_are_compared_for_matched_words() -> None:
    gold = [("this", 1.0), ("is", 1.2), ("gold", 1.5), ("missed", 2.0)]
    heard = [("This", 1.05), ("is", 1.3), ("cold", 1.4), ("gold.", 1.9)]
    accuracy = score.start_accuracy(gold, heard)
    assert (accuracy.matched, accuracy.gold) == (3, 4)
    assert accuracy.within_200_ms_percent == pytest.approx(200 / 3)
    assert accuracy.median_ms == pytest.approx(100)


def test_claims_are_judged_on_the_whole_corpus() -> None:
    recordings = [Recording(Path("a.wav"), "red green blue black", 1.0, ()), Recording(Path("b.wav"), "white", 1.0, ())]
    good = Run("good", {"a.wav": Heard("red green blue black"), "b.wav": Heard("white")}, 1.0)
    bad = Run("bad", {"a.wav": Heard("red green blue black"), "b.wav": Heard("")}, 1.0)
    figures = evaluate(recordings, [bad, bad, good])
    assert [run["wer_percent"] for run in figures["runs"]] == [20, 20, 0]
    assert [(claim["against"], claim["points"], claim["holds"]) for claim in figures["claims"]] == [
        ("bad", 0, True),
        ("good", 20, False),
    ]


def test_a_corpus_is_read_longest_first(tmp_path: Path) -> None:
    words = [{"w": "two", "start": 0.5, "end": 1}]
    entries = [
        {"file": "a.wav", "language": "en", "reference": "one", "duration_s": 1},
        {"file": "b.wav", "language": "en", "reference": "two", "duration_s": 2, "words": words},
        {"file": "c.wav", "language": "zh", "reference": "三", "duration_s": 3},
        {"file": "d.wav", "language": "en", "reference": "", "duration_s": 4},
    ]  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps({"files": entries}))
    loaded = corpus.load(tmp_path)
    assert [r.path.name for r in loaded] == ["b.wav", "a.wav"]
    assert loaded[0].gold_words == (corpus.GoldWord("two", 0.5),)


def test_a_missing_corpus_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no manifest.json" in capsys.readouterr().err


def test_wrong_characters_are_counted_without_spellings_in_use() -> None:
    result = script.measure(["佢喺裡面食麵", "王后稷"])
    assert result.characters == 9
    assert result.equal == 1
    assert result.wrong.total() == result.without_evidence == 0


def test_the_conversion_of_the_own_sentences_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["script"]) == 0
    assert "0.00 wrong per 1,000" in capsys.readouterr().out


def test_a_wrong_conversion_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("佢姓傑，係阿傑斯。\n", encoding="utf-8")
    assert main(["script", str(tmp_path / "names.txt")]) == 1
    assert "FAILS" in capsys.readouterr().out


def test_a_language_without_recordings_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"file": "a.wav", "language": "en", "reference": "one", "duration_s": 1}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": [entry]}))
    assert main([str(tmp_path), "--language", "yue:zh"]) == 2
    assert "no recording in the language 'yue'" in capsys.readouterr().err
