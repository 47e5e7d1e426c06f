"""Compares the script (Latin, Chinese and so on) of a text with the scripts of its expected language. No I/O.

A script does not distinguish English from French, or Cantonese from Mandarin. But it distinguishes English from
Cantonese: a recognizer that does not know Cantonese usually writes English text for Cantonese speech.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from worker.language_codes import base_language

# Scripts by language code. A script is the first word of the Unicode names of its letters.
_HAN: Final = ("CJK",)
_SCRIPTS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("zh", "yue", "wuu", "nan", "hak", "lzh"), _HAN),
    "ja": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
    "ko": ("HANGUL", "CJK"),
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "kk", "ky", "mn", "tg", "tt", "ba"), ("CYRILLIC",)),
    "sr": ("CYRILLIC", "LATIN"),
    "el": ("GREEK",),
    **dict.fromkeys(("ar", "fa", "ur", "ps", "sd", "ug"), ("ARABIC",)),
    **dict.fromkeys(("he", "yi"), ("HEBREW",)),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), ("DEVANAGARI",)),
    **dict.fromkeys(("bn", "as"), ("BENGALI",)),
    **{"ta": ("TAMIL",), "te": ("TELUGU",), "kn": ("KANNADA",), "ml": ("MALAYALAM",), "gu": ("GUJARATI",)},
    **{"pa": ("GURMUKHI", "ARABIC"), "si": ("SINHALA",), "th": ("THAI",), "lo": ("LAO",), "km": ("KHMER",)},
    **{"my": ("MYANMAR",), "ka": ("GEORGIAN",), "hy": ("ARMENIAN",), "am": ("ETHIOPIC",), "bo": ("TIBETAN",)},
}
# Codes of the languages in Latin script.
_LATIN: Final = frozenset(
    (
        *("af", "az", "bs", "ca", "cs", "cy", "da", "de", "en", "es", "et", "eu", "fi", "fo", "fr", "gl", "ha", "haw"),
        *("hr", "ht", "hu", "id", "is", "it", "jw", "la", "lb", "ln", "lt", "lv", "mg", "mi", "ms", "mt", "nl", "nn"),
        *("no", "oc", "pl", "pt", "ro", "sk", "sl", "sn", "so", "sq", "su", "sv", "sw", "tk", "tl", "tr", "uz", "vi"),
        "yo",
    )
)


def language_fit(text: str, language: str) -> float | None:
    """Return the share of the letters (0 to 1) that belong to a script of the language.

    Returns None for a text without letters, and for a language with an unknown script.
    """
    scripts = _scripts_of(base_language(language))
    if scripts is None:
        return None
    fitting = letters = 0
    for character in text:
        script = _script(character)
        if script:
            # A Chinese character is counted as five letters, because it carries about as much information as a word of
            # five letters.
            weight = 5 if script == "CJK" else 1
            letters += weight
            fitting += weight * (script in scripts)
    return fitting / letters if letters else None


def _scripts_of(language: str) -> tuple[str, ...] | None:
    return ("LATIN",) if language in _LATIN else _SCRIPTS.get(language)


@lru_cache(maxsize=8192)
def _script(character: str) -> str:
    """Return the script of a letter, which is the first word of its Unicode name. Returns "" for other characters."""
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "")
    return "LATIN" if name.startswith("FULLWIDTH LATIN") else name.partition(" ")[0]
