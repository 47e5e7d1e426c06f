"""The whole transcript as JSON: the shape of `worker.transcript.model.Transcript`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from worker.transcript.model import Transcript

_EMPTY: Final = '"segments": []'


def pieces(transcript: Transcript) -> Iterator[str]:
    """Indented, in the model's order of fields, text as it is (no \\u escapes), ends with a newline."""
    head, _, tail = _text(transcript.model_copy(update={"segments": ()}).model_dump(mode="json")).partition(_EMPTY)
    yield head
    if transcript.segments:
        yield '"segments": ['
        for index, segment in enumerate(transcript.segments):
            text = _text(segment.model_dump(mode="json"))
            yield ("," if index else "") + "\n    " + text.replace("\n", "\n    ")
        yield "\n  ]"
    else:
        yield _EMPTY
    yield tail + "\n"


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
