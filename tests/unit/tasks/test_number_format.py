"""Numbers with their nouns, as reports print them."""

from __future__ import annotations

import pytest

from tasks.batches.number_format import format_count


@pytest.mark.parametrize(("number", "text"), [(0, "0 sessions"), (1, "1 session"), (2, "2 sessions")])
def test_a_noun_agrees_with_its_number(number: int, text: str) -> None:
    assert format_count(number, "session") == text
