"""`-l CODE` chooses a model that supports the language, or is refused with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.errors import LanguageUnsupported
from worker.language_codes import base_language, same_language
from worker.server.recognizers import model_files
from worker.server.recognizers.model_languages import cantonese_note, choose_model, english_only, whisper_code
from worker.settings import load


@pytest.fixture(params=[True, False], ids=["with local-multi", "without local-multi"])
def multilingual(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    installed = bool(request.param)
    monkeypatch.setattr(model_files, "is_installed", lambda model: installed and model == "base")
    return installed


@pytest.mark.parametrize("language", ["en", "en-GB", "eng", "EN_us"])
def test_english_uses_the_default_model(language: str, multilingual: bool) -> None:
    assert choose_model(load({}), language) == ("tiny.en", "en")


@pytest.mark.parametrize(
    ("language", "code"),
    [("yue", "yue"), ("zh-yue", "yue"), ("zh-HK", "zh"), ("cmn", "zh"), ("nb", "no"), ("fil", "tl")],
)
def test_another_language_needs_a_multilingual_model(language: str, code: str, multilingual: bool) -> None:
    if multilingual:
        assert choose_model(load({}), language) == ("base", code)
    else:
        with pytest.raises(LanguageUnsupported, match=rf"-l {language}: .*local-multi.*--model.*STT_URL"):
            choose_model(load({}), language)


@pytest.mark.parametrize("model", ["tiny.en", "base.en", "distil-small.en", "Systran/faster-whisper-small.en"])
def test_a_named_english_model_refuses_another_language(model: str, multilingual: bool) -> None:
    with pytest.raises(LanguageUnsupported, match=f"the model {model} supports only English; .*--model"):
        choose_model(load({}, model=model), "yue")


@pytest.mark.parametrize("model", ["base", "large-v3", "Systran/faster-whisper-small"])
def test_a_named_multilingual_model_is_used_for_every_language(model: str, multilingual: bool) -> None:
    assert choose_model(load({}, model=model), "yue") == (model, "yue")


@pytest.mark.parametrize(("size", "supports_only_english"), [(51864, True), (51865, False), (51866, False)])
@pytest.mark.parametrize("name", ["vocabulary.txt", "vocabulary.json"])
def test_the_vocabulary_of_a_folder_shows_its_languages(
    tmp_path: Path, name: str, size: int, supports_only_english: bool
) -> None:
    tokens = [f"token{n}" for n in range(size)]
    text = json.dumps(tokens) if name.endswith("json") else "".join(f"{token}\n" for token in tokens)
    (tmp_path / name).write_text(text)
    assert english_only(load({}, model=str(tmp_path))) is supports_only_english


def test_a_folder_without_a_readable_vocabulary_is_left_to_the_recognizer(tmp_path: Path) -> None:
    assert not english_only(load({}, model=str(tmp_path)))
    (tmp_path / "vocabulary.json").write_text("{broken")
    assert not english_only(load({}, model=str(tmp_path)))


@pytest.mark.parametrize("language", ["xx", "klingon", "", "e", "zz-ZZ"])
def test_an_unknown_language_is_refused(language: str) -> None:
    with pytest.raises(LanguageUnsupported, match=f"-l {language}: .*code such as en"):
        whisper_code(language)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *(("en", "en-US", True), ("eng", "en", True), ("yue", "zh", True), ("zh-Hant-HK", "yue", True)),
        *(("cmn", "zh", True), ("ja", "zh", False), ("en", "yue", False), ("deu", "de-AT", True)),
    ],
)
def test_codes_of_the_same_language(one: str, other: str, same: bool) -> None:
    assert same_language(one, other) is same
    assert same_language(other, one) is same


def test_the_base_language_of_a_code() -> None:
    assert [base_language(code) for code in (" EN-gb ", "zh_HK", "zh-yue", "zho", "cmn-Hans-CN")] == [
        *("en", "zh", "yue", "zh", "zh")
    ]


def test_the_names_of_models_are_those_of_faster_whisper() -> None:
    utils = pytest.importorskip("faster_whisper.utils")
    assert sorted(model_files.HUB_NAMES) == sorted(utils.available_models())


@pytest.mark.parametrize(
    ("model", "noted"),
    [("base", True), ("small", True), ("large-v2", True), ("large-v3", False), ("turbo", False), ("own/model", False)],
)
def test_a_model_without_cantonese_is_noted(model: str, noted: bool) -> None:
    note = cantonese_note(load({}, model=model))
    assert (note is not None) is noted
    assert note is None or ("佢哋" in note and "--model large-v3" in note)


@pytest.mark.parametrize(("size", "noted"), [(51865, True), (51866, False)])
def test_a_folder_without_cantonese_is_noted(tmp_path: Path, size: int, noted: bool) -> None:
    (tmp_path / "vocabulary.txt").write_text("".join(f"token{n}\n" for n in range(size)))
    assert (cantonese_note(load({}, model=str(tmp_path))) is not None) is noted
