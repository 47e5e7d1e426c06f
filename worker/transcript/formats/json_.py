"""The whole transcript as JSON: the shape of `worker.transcript.model.Transcript`."""

from __future__ import annotations

import json

from worker.transcript.model import Transcript


def render(transcript: Transcript) -> str:
    """Indented, in the model's order of fields, text as it is (no \\u escapes), ends with a newline."""
    return json.dumps(transcript.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
