"""Writes the whole transcript as JSON (.json), with the fields of `worker.transcript.model.Transcript`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from worker.transcript.model import Transcript
from worker.transcript.subtitles.style import PLAIN, Style

# Where the segments are inserted, in the JSON of a transcript without segments.
_EMPTY: Final = '"segments": []'


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield indented JSON with the fields in the order of the model, without \\u escapes, and with a final newline.

    Segments are converted one by one, so that the JSON of all segments is never in memory at the same time."""
    del style  # the layout and the options of subtitles do not apply to JSON
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


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the transcript document."""
    found = Transcript.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
