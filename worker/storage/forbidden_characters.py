"""Finds characters that are not allowed in names of files, folders and objects. No I/O."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Control characters. For the operating system NUL ends a name; the others disturb terminals, logs and lists."""


def has_control_characters(name: str) -> bool:
    return _CONTROL.search(name) is not None


def control_characters(name: str, *, quoted: bool = False) -> str | None:
    """Return the reason to refuse `name`, or None if it has no control character.

    `quoted`: whether `name` is percent-encoded, as in a web address: %0A is then a line feed."""
    found = _CONTROL.search(unquote(name) if quoted else name)
    return None if found is None else f"must not contain control characters (U+{ord(found[0]):04X}); rename it"


__all__ = ["control_characters", "has_control_characters"]
