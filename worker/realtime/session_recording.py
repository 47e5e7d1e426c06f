"""The file format of recorded sessions: JSON lines with the messages of one connection.

The first line is a header. Each further line is one message or event, with the seconds since the start of the
recording. Audio is replaced by its number of samples and a hash. So two recordings show whether two runs sent the same
audio, but the audio cannot be restored from them. A recording contains the text that the service returned.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from worker.errors import SettingsError
from worker.realtime import json_codec

FORMAT: Final = "stt-batch session recording"
VERSION: Final = 1
MAX_LINE: Final = 2_000_000
"""Maximum length of a line in characters; a message of the service has at most 1 MB."""
MAX_ENTRIES: Final = 500_000
CONNECTED: Final = "connected"
REFUSED: Final = "refused"
DROPPED: Final = "dropped"
"""Events of the connection itself. REFUSED and DROPPED have a reason as payload."""

Sender = Literal["client", "service"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One message. `at_s`: seconds since the start of the recording. `samples`: length of the audio, if the message is
    an audio-chunk."""

    at_s: float
    sender: Sender
    event: str
    payload: Any = None
    samples: int = 0
    sha256: str = ""


def header(**facts: str) -> str:
    """Return the first line of a recording, with the line end. `facts`: further fields, for readers only."""
    return json.dumps({"format": FORMAT, "version": VERSION, **facts}, ensure_ascii=False) + "\n"


def line(entry: Entry) -> str:
    """Return the line of an entry, with the line end."""
    fields: dict[str, Any] = {"at_s": round(entry.at_s, 3), "sender": entry.sender, "event": entry.event}
    if entry.samples:
        fields |= {"samples": entry.samples, "sha256": entry.sha256}
    if entry.payload is not None:
        fields["payload"] = entry.payload
    return json.dumps(fields, ensure_ascii=False, default=str) + "\n"


def parse(lines: Iterable[str], name: str) -> tuple[Entry, ...]:
    """Parse a recording. An incomplete last line is ignored: the process may have been killed. `name` is only used in
    errors. Raises SettingsError with the number of the line."""
    found: list[Entry] = []
    for number, text in enumerate(lines, 1):
        if number == 1:
            _check_header(text, name)
        elif len(text) > MAX_LINE or len(found) == MAX_ENTRIES:
            raise SettingsError(f"{name}, line {number}: the recording is too large")
        elif text.endswith("\n"):
            found.append(_entry(text, f"{name}, line {number}"))
    if not found:
        raise SettingsError(f"{name}: the recording is empty")
    return tuple(found)


def read_recording(path: Path) -> tuple[Entry, ...]:
    """Read the recording of one session. Raises SettingsError with the file, the line and the reason."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            # With a limit, so that a file without line ends is not read into memory as a whole.
            return parse(iter(lambda: file.readline(MAX_LINE + 1), ""), str(path))
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def _check_header(text: str, name: str) -> None:
    fields = _object(text, name)
    if fields.get("format") != FORMAT:
        raise SettingsError(f"{name}: is not a recording of STT_RECORD_DIR")
    if type(fields.get("version")) is not int or fields["version"] != VERSION:
        raise SettingsError(f"{name}: has version {fields.get('version')!r}, but this program reads only {VERSION}")


def _entry(text: str, place: str) -> Entry:
    fields = _object(text, place)
    at_s, samples, sender, event = (fields.get(key) for key in ("at_s", "samples", "sender", "event"))
    if isinstance(at_s, bool) or not isinstance(at_s, int | float) or not 0 <= at_s < 1e7:
        raise SettingsError(f"{place}: at_s must be a number of seconds")
    if sender not in ("client", "service") or not isinstance(event, str) or not event:
        raise SettingsError(f"{place}: needs a sender (client or service) and an event")
    if samples is not None and (not isinstance(samples, int) or isinstance(samples, bool) or not 0 <= samples < 1e9):
        raise SettingsError(f"{place}: samples must be a number of samples")
    try:
        # Exactly as the server sends it: half of a surrogate pair or a huge number cannot be sent.
        json_codec.encode([event, fields.get("payload")])
    except (TypeError, ValueError, RecursionError) as exc:
        raise SettingsError(f"{place}: the message cannot be sent: {exc}") from None
    return Entry(float(at_s), sender, event, fields.get("payload"), samples or 0, str(fields.get("sha256", ""))[:64])


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise SettingsError(f"{place}: is not a JSON object; is this a recording of STT_RECORD_DIR?")
    return fields
