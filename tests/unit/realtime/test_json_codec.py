"""JSON of the peer: half of a surrogate pair loses one character, not the message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.realtime import json_codec


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'["\ud800"]', ["?"]),
        (r'["a \ud83d b"]', ["a ? b"]),
        (r'["\udc00 \ud83d\ude00"]', ["? \U0001f600"]),
        (r'{"text": "\uD83D", "n": [1, 2.5, null, true]}', {"text": "?", "n": [1, 2.5, None, True]}),
        (r'["\\ud800"]', [r"\ud800"]),
        (r'["\\\ud800"]', ["\\?"]),
        (
            '["w", {"logprob": -Infinity, "end": NaN, "start": Infinity}]',
            ["w", dict.fromkeys(("logprob", "end", "start"))],
        ),
        ('["w", 1e999, -1.5E+400, 1.5]', ["w", None, None, 1.5]),
        (f'["w", 1{"0" * 400}, -1{"0" * 5000}, 12]', ["w", None, None, 12]),
        (f'["w", NaN, 1{"0" * 30}, 123456789012345678]', ["w", None, 1e30, 123456789012345678]),
        ('["a\tb\nc"]', ["a\tb\nc"]),
        (r'["\ud800", NaN]', ["?", None]),
    ],
)
def test_deviations_from_json_lose_no_message(text: str, value: Any) -> None:
    assert json_codec.loads(text) == value
    assert json_codec.loads(text.encode()) == value


@pytest.mark.parametrize(
    "text",
    ["{", r'["\ud800"', "[" * 100_000 + r'"\ud800"', b"\xff", "", r'"\udx"'],
)
def test_invalid_json_raises_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(json_codec.JSONDecodeError):
        json_codec.loads(text)
    assert issubclass(json_codec.JSONDecodeError, json.JSONDecodeError)
