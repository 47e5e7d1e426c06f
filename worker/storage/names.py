"""Characters that no name of a file, folder or object may hold (pure)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""NUL ends a name for the system; the others change what a terminal, a log or a list shows."""


def has_control_characters(name: str) -> bool:
    return _CONTROL.search(name) is not None


def control_characters(name: str, *, quoted: bool = False) -> str | None:
    """The reason why `name` is refused, or None. `quoted`: a web address, where %0A stands for a line feed."""
    found = _CONTROL.search(unquote(name) if quoted else name)
    return None if found is None else f"must not contain control characters (U+{ord(found[0]):04X}); rename it"


__all__ = ["control_characters", "has_control_characters"]
