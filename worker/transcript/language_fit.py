"""Does a text look like the language it should be in? By its script alone (pure).

A script cannot tell English from French, or Cantonese from Mandarin. It does tell English text where Cantonese was
spoken, which is what a recognizer without the language writes.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

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
_LATIN: Final = frozenset(
    (
        *("af", "az", "bs", "ca", "cs", "cy", "da", "de", "en", "es", "et", "eu", "fi", "fo", "fr", "gl", "ha", "haw"),
        *("hr", "ht", "hu", "id", "is", "it", "jw", "la", "lb", "ln", "lt", "lv", "mg", "mi", "ms", "mt", "nl", "nn"),
        *("no", "oc", "pl", "pt", "ro", "sk", "sl", "sn", "so", "sq", "su", "sv", "sw", "tk", "tl", "tr", "uz", "vi"),
        "yo",
    )
)
_THREE: Final = {
    **{"eng": "en", "zho": "zh", "chi": "zh", "cmn": "zh", "jpn": "ja", "kor": "ko", "rus": "ru", "fra": "fr"},
    **{"fre": "fr", "deu": "de", "ger": "de", "spa": "es", "por": "pt", "ita": "it", "nld": "nl", "dut": "nl"},
    **{"tha": "th", "vie": "vi", "ind": "id", "msa": "ms", "may": "ms", "tgl": "tl", "fil": "tl", "hin": "hi"},
    **{"ara": "ar", "heb": "he", "ell": "el", "gre": "el", "ukr": "uk", "pol": "pl", "tur": "tr", "urd": "ur"},
}
_CHINESE: Final = frozenset(("zh", "yue", "wuu", "nan", "hak", "lzh"))


def base_language(code: str) -> str:
    """The primary subtag in its shortest form: `en-GB` and `eng` are `en`, `zh-yue` and `zh-HK` stay Chinese."""
    parts = code.strip().casefold().replace("_", "-").split("-")
    if parts[0] in ("zh", "zho", "chi") and len(parts) > 1 and parts[1] in _CHINESE:
        return parts[1]
    return _THREE.get(parts[0], parts[0])


def same_language(one: str, other: str) -> bool:
    """Whether two codes may name the same speech. Services often call every kind of Chinese `zh`."""
    first, second = base_language(one), base_language(other)
    return first == second or {first, second} <= _CHINESE


def language_fit(text: str, language: str) -> float | None:
    """Share of the letters (0 to 1) that are of a script the language is written in.

    None without letters, and for a language whose script is not known here.
    """
    scripts = _scripts_of(base_language(language))
    if scripts is None:
        return None
    fitting = letters = 0
    for character in text:
        script = _script(character)
        if script:
            # A Chinese character says about as much as a word of five letters.
            weight = 5 if script == "CJK" else 1
            letters += weight
            fitting += weight * (script in scripts)
    return fitting / letters if letters else None


def _scripts_of(language: str) -> tuple[str, ...] | None:
    return ("LATIN",) if language in _LATIN else _SCRIPTS.get(language)


@lru_cache(maxsize=8192)
def _script(character: str) -> str:
    """First word of a letter's Unicode name, which is its script; "" for anything but a letter."""
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "")
    return "LATIN" if name.startswith("FULLWIDTH LATIN") else name.partition(" ")[0]
