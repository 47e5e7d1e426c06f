"""Checks that API keys can be sent in an HTTP header. No I/O."""

from __future__ import annotations


def check_header_value(key: str) -> None:
    """Raise ValueError if a header cannot contain the key: otherwise each job would fail with an obscure error.

    The message names the position of the invalid character. It does not show the character, which is a part of the
    secret."""
    for position, character in enumerate(key, 1):
        if " " <= character <= "~" or "\xa0" <= character <= "\xff":
            continue
        if character in "\r\n":
            kind = "a line break"
        else:
            kind = "a control character" if character < "\xa0" else "a character outside of Latin-1"
        raise ValueError(f"contains {kind} (character {position}), which a header cannot contain")
