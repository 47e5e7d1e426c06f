"""Untrusted text can neither move the cursor nor change the writing direction."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text_escaping import printable, printable_lines

DANGEROUS = [
    *(
        "\x1b[2J",
        "\x1b]0;title\x07",
        "\x9b31m",
        "\x90q\x9c",
        "\r",
        "\x08",
        "\x7f",
        "\x00",
        "\u202e",
        "\u2066",
        "\u2069",
    ),
    *("\u200e", "\u061c", "\u2028", "\u2029", "\ufeff", "\u200b", "\udc80", "\U000e0041", "\x85", "\x0b", "\x0c"),
]


@pytest.mark.parametrize("text", DANGEROUS, ids=ascii)
def test_each_control_character_is_escaped(text: str) -> None:
    for shown in (printable(f"a{text}b"), printable_lines(f"a{text}b")):
        assert shown.startswith("a\\u")
        assert all(character.isprintable() for character in shown)
        assert json.loads(f'"{shown}"') == f"a{text}b"


@pytest.mark.parametrize(
    "text", ["粵語 call.wav", "naïve café", "👨‍👩‍👧 family", "नमस्ते", "שלום", "a\\b", "[red]x[/]", " x"]
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert printable(text) == printable_lines(text) == text


def test_newlines_remain_in_multi_line_text() -> None:
    assert printable("a\n\tb") == "a\\u000a\\u0009b"
    assert printable_lines("a\n\tb") == "a\n\tb"


@given(st.text())
def test_an_escaped_json_document_is_equal(text: str) -> None:
    for indent in (None, 2):
        document = json.dumps({text: [text]}, ensure_ascii=False, indent=indent)
        assert json.loads(printable_lines(document)) == {text: [text]}


@given(st.text())
def test_the_result_contains_no_control_characters(text: str) -> None:
    kinds = {unicodedata.category(character) for character in printable(text)}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not {c for c in printable(text) if unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF"}}
