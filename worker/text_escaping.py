"""Escapes untrusted text for terminals, logs and pages. No I/O.

A file name may contain terminal escape sequences, which can clear the screen, and bidirectional controls, which can
reverse parts of the displayed name and so hide its real extension. Both are written as JSON escapes (`\\u001b`), so
escaped JSON still parses to the same document.
"""

from __future__ import annotations

import re
from typing import Final

# Characters that are escaped: C0 and C1 controls, DEL, line and paragraph separators, marks and controls of writing
# direction, invisible operators, interlinear annotation, tags, halves of surrogate pairs (Python decodes the bytes of a
# name that are not UTF-8 to these). Joiners are not escaped: emoji and several scripts need them.
_CONTROLS: Final = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
UNPRINTABLE: Final = re.compile(f"[{_CONTROLS}]")
"""Matches one character that `printable` escapes."""
_UNPRINTABLE_IN_LINES: Final = re.compile(f"(?![\n\t])[{_CONTROLS}]")


def printable(text: str) -> str:
    """Return `text` as one line, with newlines, control characters and bidirectional controls as JSON escapes."""
    return UNPRINTABLE.sub(_code, text)


def printable_lines(text: str) -> str:
    """Escape `text` like `printable`, but leave newlines and tabs unchanged."""
    return _UNPRINTABLE_IN_LINES.sub(_code, text)


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number <= 0xFFFF:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
