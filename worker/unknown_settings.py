"""Warnings about `STT_…` variables that are not settings, such as misspelled ones (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from worker.settings import SECRET_SETTINGS, Settings

_OTHER_VARIABLES: Final = frozenset({"STT_TEST_AUDIO", "STT_CONFIG"})
"""Variables that are no settings and cause no warning: of the test suite, and the path of the configuration file."""


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return one warning for each `STT_…` variable that is not a setting. The warning suggests the most similar
    setting."""
    known = {f"STT_{name.upper()}" for name in Settings.model_fields}
    known |= {f"STT_{name.upper()}_FILE" for name in SECRET_SETTINGS}
    found = sorted(name for name in environ if name.startswith("STT_") and name not in known | _OTHER_VARIABLES)
    return [f"{name} is not a setting{_suggestion(name, known)}" for name in found]


_RENAMED: Final = {
    "STT_MAX_SESSIONS": "STT_API_KEY_MAX_SESSIONS",
    "STT_FLUSH_MAX_S": "STT_TAIL_SILENCE_MAX_S",
    "STT_FLUSH_MIN_S": "STT_TAIL_SILENCE_MIN_S",
    "STT_WINDOW_S": "STT_SEND_AHEAD_MAX_S",
}
"""Settings of development versions whose new names no comparison of spellings would find."""


def _suggestion(name: str, known: set[str]) -> str:
    """Return the text that suggests a setting: one that contains all words of the variable's name, otherwise the one
    with the most similar spelling."""
    if name in _RENAMED:
        return f"; did you mean {_RENAMED[name]}?"
    words = set(name.split("_"))
    with_words = sorted((one for one in known if words <= set(one.split("_"))), key=lambda one: (len(one), one))
    similar = with_words or get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {similar[0]}?" if similar else ""
