"""Parses and builds the messages of the real-time API.

In the client, only this module knows the field names of the payloads; `worker.server.protocol` is the server's part.

Event and field names are those of the service's public API page. The service relays messages of an upstream service:
their details (words, session configuration, error names) follow the upstream's schema. Unknown messages become
`Unknown`, never an error: the service may add messages at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, isfinite
from types import MappingProxyType
from typing import Any, Final

from worker.network.retry_after import seconds_of
from worker.realtime.error_shapes import read_error
from worker.realtime.error_table import KIND_OF_NAME, ErrorKind, kind_of, known_name

PATH: Final = "/api/stt-realtime-socket"
KEY_HEADER: Final = "x-api-key"

# client -> server
START: Final = "start-session"
CHUNK: Final = "audio-chunk"
STOP: Final = "stop-session"
# server -> client
STARTED: Final = "session-started"
TRANSCRIPT: Final = "transcript-message"
ERROR: Final = "session-error"
CLOSED: Final = "session-closed"
UNREADABLE: Final = "unreadable message"
"""Event that `client_packet` reports for a packet that cannot be read."""
OTHER_ERRORS: Final = frozenset({"error", "exception", "session_error", "unauthorized"})
"""Events with which other Socket.IO services report an error."""

# values of message_type in a transcript-message
TYPE_STARTED: Final = "session_started"
TYPE_PARTIAL: Final = "partial_transcript"
TYPE_COMMITTED: Final = "committed_transcript"
TYPE_COMMITTED_TIMED: Final = "committed_transcript_with_timestamps"
MAX_COMMIT_PAUSE_S: Final = 60.0
"""A longer commit pause in the service's configuration is ignored, since the tail flush would wait for it."""
# Flag in the configuration, an extension of the self-hosted service: it commits all received audio before it answers
# stop-session with session-closed.
FIELD_COMMIT_ON_STOP: Final = "commit_on_stop"
# The self-hosted service's `reason` in a session-closed that answers stop-session. The code 1000 is not enough, because
# a close with this code may have been sent before the stop arrived.
REASON_STOPPED: Final = "stopped by the client"


@dataclass(frozen=True, slots=True)
class WireWord:
    """One word as the service sent it. Times are seconds since the start of the session (None if missing). `confidence`
    is from 0 to 1."""

    text: str
    start: float | None
    end: float | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The message `session-started`, which has no payload: the service is ready for audio."""


@dataclass(frozen=True, slots=True)
class UpstreamStarted:
    """The message `transcript-message` of type session_started, with the values of its configuration that the client
    uses."""

    session_id: str | None
    model: str | None = None
    sends_timestamps: bool | None = None
    """Whether commits have word times, or None if unknown."""
    commits_on_stop: bool = False
    """Whether the service commits all audio before it answers stop-session."""
    commit_pause_s: float | None = None
    """Pause in seconds after which the service commits, or None if unknown or implausible."""
    config: Mapping[str, object] | None = field(default=None, compare=False)
    """The whole configuration as the service sent it, or None if it sent none."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Text that is not final yet. It replaces the text of the previous `Partial`."""

    text: str


@dataclass(frozen=True, slots=True)
class Committed:
    """Final text. `timed`: whether this is the message with word times; a plain message has no `words`."""

    text: str
    timed: bool
    words: tuple[WireWord, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceError:
    """The message `session-error`, or a transcript-message whose type is an error name. `name`: the recognized error
    name. `retry_after_s`: the pause that the service demands, in seconds, or None."""

    name: str
    text: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The message `session-closed`: the upstream connection has ended. Code 1000 does not mean that all audio was
    committed."""

    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """No message: the connection was lost. `reason`: text for the user. `close_code` and `close_reason`: those with
    which the peer closed the websocket, if it did."""

    reason: str
    close_code: int | None = None
    close_reason: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of an unknown kind. It only shows that the service is alive."""

    kind: str


Message = SessionStarted | UpstreamStarted | Partial | Committed | ServiceError | Closed | Unknown


def start_session(sample_rate: int, options: Mapping[str, object] = MappingProxyType({})) -> dict[str, Any]:
    """Build the payload of `start-session`. `sample_rate`: in Hz. `options`: further fields of the payload."""
    return {**options, "sampleRate": sample_rate}


def audio_chunk(audio_base64: str, sample_rate: int) -> dict[str, Any]:
    """Build the payload of `audio-chunk`. `audio_base64`: base64 of 16-bit little-endian mono PCM at `sample_rate`
    Hz."""
    return {"audio_base_64": audio_base64, "sample_rate": sample_rate}


def audio_of(chunk: Mapping[str, Any]) -> str:
    """Return the base64 text of the audio in a payload that `audio_chunk` built."""
    return str(chunk["audio_base_64"])


def close_text(code: int | None, reason: str) -> str:
    """Return the text for the user about a close of the session or of its websocket."""
    return f"closed with {code}: {reason}" if reason else f"closed with {code}"


def parse(event: str, payload: object = None) -> Message:
    """Parse a server event and its payload. Never raises: unreadable messages become `Unknown`."""
    if event == STARTED:
        return SessionStarted()
    if event == TRANSCRIPT:
        return _parse_transcript(payload)
    if event == ERROR or event in OTHER_ERRORS:
        return _parse_error(payload, "" if event == ERROR else event)
    if event == CLOSED:
        return _parse_closed(payload)
    if event == UNREADABLE:
        # The text does not quote the message: words of a transcript could be taken for an error about the API key.
        return ServiceError(name=UNREADABLE, text="a message of the service is not in the format of Socket.IO")
    return Unknown(kind=event)


def _parse_transcript(payload: object) -> Message:
    if not isinstance(payload, Mapping):
        # A text is no transcript in this API. It is an error if it names one.
        named = isinstance(payload, str) and kind_of((), payload) is not ErrorKind.UNKNOWN
        return _parse_error(payload) if named else Unknown(kind=type(payload).__name__)
    kind = _text(payload.get("message_type"))
    if kind == TYPE_PARTIAL:
        return Partial(text=_text(payload.get("text")))
    if kind in (TYPE_COMMITTED, TYPE_COMMITTED_TIMED):
        return Committed(
            text=_text(payload.get("text")),
            timed=kind == TYPE_COMMITTED_TIMED,
            words=_parse_words(payload.get("words")),
            language=_text(payload.get("language_code")) or None,
        )
    if kind == TYPE_STARTED:
        return _parse_started(payload)
    if known_name(kind) or kind.endswith("_error") or (not kind and ("error" in payload or "detail" in payload)):
        return _parse_error({name: value for name, value in payload.items() if name != "message_type"}, kind)
    return Unknown(kind=kind or "transcript-message without a type")


def _parse_error(payload: object, outer: str = "") -> ServiceError:
    """Parse an error of any shape. `outer`: the message type or the event, which may be the name of the error."""
    facts = read_error(payload)
    inner, named = facts.name, known_name(outer)
    specific = next((name for name in (named, inner) if name in KIND_OF_NAME), None)
    general = next((name for name in (inner, named) if name and name != "error"), None)
    if facts.status is not None:
        general = f"http_{facts.status}"
    fallback = named or (outer if outer.endswith("_error") else inner)
    return ServiceError(
        name=specific or general or fallback or "unknown",
        text=facts.text or outer or "the service gave no reason",
        retry_after_s=seconds_of(facts.retry_after),
    )


def _parse_closed(payload: object) -> Closed:
    if not isinstance(payload, Mapping):
        return Closed(code=None, reason=read_error(payload).text)
    code = payload.get("code")
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) <= 5:
        code = int(code)
    reason = payload.get("reason")
    if not isinstance(reason, str):
        reason = read_error({name: value for name, value in payload.items() if name != "code"}).text
    return Closed(code=code if isinstance(code, int) and not isinstance(code, bool) else None, reason=reason)


def _parse_started(payload: Mapping[str, Any]) -> UpstreamStarted:
    given = payload.get("config")
    config = given if isinstance(given, Mapping) else {}
    model, timestamps = config.get("model_id"), config.get("include_timestamps")
    pause_s = _number(config.get("vad_silence_threshold_secs"))
    return UpstreamStarted(
        session_id=_text(payload.get("session_id")) or None,
        model=model if isinstance(model, str) else None,
        sends_timestamps=timestamps if isinstance(timestamps, bool) else None,
        commits_on_stop=config.get(FIELD_COMMIT_ON_STOP) is True,
        commit_pause_s=pause_s if pause_s is not None and 0 < pause_s <= MAX_COMMIT_PAUSE_S else None,
        config=config if isinstance(given, Mapping) else None,
    )


def _parse_words(raw: object) -> tuple[WireWord, ...]:
    if not isinstance(raw, list):
        return ()
    words = []
    for item in raw:
        # The other types are `spacing` and `audio_event` (such as laughter): no words.
        if not isinstance(item, Mapping) or item.get("type") not in (None, "word"):
            continue
        text = _text(item.get("text")).strip()
        if not text:
            continue
        logprob = _number(item.get("logprob"))
        start, end = _times(item)
        words.append(
            WireWord(
                text=text,
                start=start,
                end=end,
                # A probability above 1 would be an error of the service.
                confidence=None if logprob is None else round(min(1.0, exp(min(logprob, 0.0))), 4),
            )
        )
    return tuple(words)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if type(value) is float:  # nearly all numbers, three for each word
        return value if isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _finite(value)


def _times(item: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the start and end of a word. Numbers written as strings are accepted only if both are strings."""
    start, end = item.get("start"), item.get("end")
    if isinstance(start, str) and isinstance(end, str):
        return _finite(start), _finite(end)
    return _number(start), _number(end)


def _finite(value: float | str) -> float | None:
    try:
        number = float(value)
    except (ValueError, OverflowError):  # an integer may be too large for a float
        return None
    return number if isfinite(number) else None
