"""Normalizes and compares language codes. No I/O. Sources: BCP 47 for the syntax, ISO 639 for the codes."""

from __future__ import annotations

from typing import Final

_THREE: Final = {
    **{"eng": "en", "zho": "zh", "chi": "zh", "cmn": "zh", "jpn": "ja", "kor": "ko", "rus": "ru", "fra": "fr"},
    **{"fre": "fr", "deu": "de", "ger": "de", "spa": "es", "por": "pt", "ita": "it", "nld": "nl", "dut": "nl"},
    **{"tha": "th", "vie": "vi", "ind": "id", "msa": "ms", "may": "ms", "tgl": "tl", "fil": "tl", "hin": "hi"},
    **{"ara": "ar", "heb": "he", "ell": "el", "gre": "el", "ukr": "uk", "pol": "pl", "tur": "tr", "urd": "ur"},
}
_CHINESE: Final = frozenset(("zh", "yue", "wuu", "nan", "hak", "lzh"))


def base_language(code: str) -> str:
    """Return the language of a code, without country and script: `en` for `en-GB` and `eng`, `zh` for `zh-HK`, `yue`
    for `zh-yue`."""
    parts = code.strip().casefold().replace("_", "-").split("-")
    if parts[0] in ("zh", "zho", "chi") and len(parts) > 1 and parts[1] in _CHINESE:
        return parts[1]
    return _THREE.get(parts[0], parts[0])


def same_language(one: str, other: str) -> bool:
    """Whether two codes may mean the same language. Services often use `zh` for all Chinese languages."""
    first, second = base_language(one), base_language(other)
    return first == second or {first, second} <= _CHINESE


def is_cantonese(code: str) -> bool:
    """Whether a code requests Cantonese: `yue`, `zh-yue`, `cantonese`, or the Chinese of Hong Kong or Macau (`zh-HK`),
    as speech services call it."""
    base, *subtags = code.strip().casefold().replace("_", "-").split("-")
    if base_language(code) in ("yue", "cantonese"):
        return True
    return base in ("zh", "zho", "chi") and not {"hk", "mo"}.isdisjoint(subtags) and "cmn" not in subtags
