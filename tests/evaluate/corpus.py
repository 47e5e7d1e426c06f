"""The recordings that are evaluated, and their texts.

A corpus is a folder with `manifest.json`: `{"files": [{"file", "language", "reference", "duration_s",
"words": [{"w", "start", "end"}] (optional, gold word times in seconds), …}]}`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "audio"


@dataclass(frozen=True, slots=True)
class GoldWord:
    text: str
    start_s: float


@dataclass(frozen=True, slots=True)
class Recording:
    path: Path
    reference: str
    duration_s: float
    gold_words: tuple[GoldWord, ...]


def folder() -> Path:
    """Return the folder of the recordings: `STT_TEST_AUDIO`, or `shared/audio` beside the checkout."""
    return Path(os.environ.get("STT_TEST_AUDIO") or DEFAULT)


def load(root: Path, language: str = "en") -> list[Recording]:
    """Return the recordings of one language that have a reference text, longest first. Raises FileNotFoundError without
    a manifest."""
    entries = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["files"]
    found = [
        Recording(
            path=root / entry["file"],
            reference=entry["reference"],
            duration_s=float(entry["duration_s"]),
            gold_words=tuple(GoldWord(word["w"], float(word["start"])) for word in entry.get("words", ())),
        )
        for entry in entries
        if entry["language"] == language and entry["reference"]
    ]
    return sorted(found, key=lambda recording: -recording.duration_s)
