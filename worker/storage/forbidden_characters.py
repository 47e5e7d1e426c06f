"""Characters that are not allowed in names of files, folders and objects (pure)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""NUL ends a name for the system; the others affect the display in terminals, logs and lists."""


def has_control_characters(name: str) -> bool:
    return _CONTROL.search(name) is not None


def control_characters(name: str, *, quoted: bool = False) -> str | None:
    """The reason to refuse `name`, or None. `quoted`: a web address, in which %0A means a line feed."""
    found = _CONTROL.search(unquote(name) if quoted else name)
    return None if found is None else f"must not contain control characters (U+{ord(found[0]):04X}); rename it"


__all__ = ["control_characters", "has_control_characters"]
