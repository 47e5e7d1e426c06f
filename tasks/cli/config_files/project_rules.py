"""The settings and options that a project's `stt-batch.toml` may contain. No I/O, except for links in paths.

A project's file may come from a stranger, with a folder of recordings. So it may only describe the audio and the form
of the transcripts. It cannot name addresses, secrets, allow-lists or limits of this machine, choose code that runs, or
write outside its own folder. A new setting is refused until it is added here.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from worker.errors import SettingsError

SETTINGS: Final = frozenset(
    {
        *("speed", "worker_sessions", "job_max_sessions", "skip_silence", "speech_detector", "price_per_hour"),
        *("session_max_s", "tail_silence_min_s", "tail_silence_max_s", "model", "server_language", "glossary"),
        *("server_endpointing", "server_commit_silence_s", "server_segment_max_s", "log_level"),
    }
)
OPTIONS: Final = frozenset(
    {
        *("format", "preset", "script", "audio-events", "word-cues", "bom", "language", "channels", "channel-names"),
        *("track", "speed", "sessions", "parallel-sections", "skip-silence", "model", "glossary", "out", "left-out"),
        *("quiet", "verbose", "log-level", "price-per-hour", "speech", "limit", "jobs", "settle"),
    }
)
_PATHS: Final = ("glossary", "out")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Matches the name of a model. Does not match a path."""


def check(name: str, value: Any, file: Path, allowed: frozenset[str]) -> Any:
    """Return the value that a project's file may set; paths become absolute. `name`: of the setting or option.

    Raises SettingsError if the name is not in `allowed`, or if the value leads out of the folder of the file."""
    if name not in allowed:
        # The name may be a typing error: the options of each command are unknown here.
        close = get_close_matches(name, OPTIONS, n=1, cutoff=0.8) if allowed is OPTIONS else []
        raise SettingsError(
            f"{file}: a project's file must not set {name}, because it may come from a stranger: set it in the user's"
            f" stt-batch.toml, in the environment, or as an option{f'; or did you mean {close[0]}?' if close else ''}"
        )
    if name in _PATHS:
        return _inside(name, value, file)
    # If a folder with this name exists, the model in it would be loaded.
    if name == "model" and (_MODEL.fullmatch(str(value)) is None or os.path.lexists(str(value))):
        raise SettingsError(
            f"{file}: a project's file must not set model to a folder or to a name on the hub: give a name such as base"
        )
    return value


def _inside(name: str, value: Any, file: Path) -> str:
    folder = file.parent.resolve()
    # Symbolic links are resolved before the check, because a link in a stranger's folder may lead anywhere.
    try:
        path = (folder / str(value)).resolve()
    except (OSError, RuntimeError, ValueError) as exc:  # a link to itself, or a name that no file can have
        raise SettingsError(f"{file}: {name} is not a valid path: {exc}; correct it") from None
    if "://" in str(value) or str(value) == "-" or not path.is_relative_to(folder):
        raise SettingsError(f"{file}: {name} must be a path inside the folder of this file, not {value}")
    return str(path)
