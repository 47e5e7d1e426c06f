"""Options that a job adds to `start-session`: their form and limits. No I/O.

The API page documents only `sampleRate`, so it is not known in advance which options a service accepts.
`worker.pipeline.session_option_results` records which options were accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, JsonValue

from worker.text_escaping import printable

MAX_BYTES: Final = 4096
"""Maximum length of all options as JSON, in bytes of UTF-8."""
MAX_OPTIONS: Final = 32
MAX_DEPTH: Final = 3
"""Maximum nesting of lists and objects in a value."""
RESERVED: Final = frozenset({"samplerate", "sample_rate"})
"""Names that the client sets itself, in lower case."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def checked_options(options: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Check that `options` can be sent, and return them unchanged. Raises ValueError with the reason if they cannot."""
    if len(options) > MAX_OPTIONS:
        raise ValueError(f"must have at most {MAX_OPTIONS} options, not {len(options)}")
    for name, value in options.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"option {printable(name)[:70]!r}: a name has 1 to 64 letters, digits or _ . -")
        if name.lower() in RESERVED:
            raise ValueError(f"option {name!r} is set by the client: use STT_SAMPLE_RATE")
        if _depth(value) > MAX_DEPTH:
            raise ValueError(f"option {name!r} must be nested at most {MAX_DEPTH} levels deep")
    try:
        size = len(json.dumps(options, ensure_ascii=False, allow_nan=False).encode())
    except ValueError:  # NaN, infinity, or half of a surrogate pair
        raise ValueError("must be valid JSON: no NaN or infinite numbers, and only valid Unicode text") from None
    if size > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes as JSON, not {size}")
    return options


Options = Annotated[dict[str, JsonValue], AfterValidator(checked_options)]
"""The type of a field with session options: a JSON object, bounded."""


def parse_options(text: str) -> dict[str, JsonValue]:
    """Parse a JSON object of session options; an empty text means none. Raises ValueError with the reason."""
    if not text.strip():
        return {}
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('must be a JSON object such as {"language_code": "yue"}') from None
    if not isinstance(options, dict):
        raise ValueError(f'must be a JSON object such as {{"language_code": "yue"}}, not {type(options).__name__}')  # noqa: TRY004  a wrong value, not a wrong call
    return checked_options(options)


def check_options(text: str) -> str:
    """Return the text of a setting with session options. Raises ValueError if it is invalid."""
    parse_options(text)
    return text


def check_option_name(name: str) -> str:
    """Return the name of a session option, or "". Raises ValueError if it is invalid."""
    if name:
        checked_options({name: ""})
    return name


def merged(defaults: Mapping[str, JsonValue], own: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the options of a job. A value in `own` has priority over the same option in `defaults`; null in `own`
    removes the option."""
    return {name: value for name, value in {**defaults, **own}.items() if value is not None}


def _depth(value: JsonValue) -> int:
    depth, level = 0, [value]
    while level:
        nested = [one for one in level if isinstance(one, list | dict)]
        depth += bool(nested)
        level = [inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)]
    return depth
