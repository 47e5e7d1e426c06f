"""Checks payloads of clients and builds payloads of the server.

The names of events and fields are in `worker.realtime.messages`. The text of every refusal starts with an error name of
the real service, so that existing clients can handle it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pybase64

from worker.realtime import messages
from worker.server.endpointing import EndpointingRules
from worker.server.recognizers import Recognition, RecognizedWord
from worker.server.speech_segmenter import Pcm, Utterance

# The real service accepts 8, 16, 22.05, 24, 44.1 and 48 kHz. The resampler here can process every rate between them.
MIN_RATE_HZ: Final = 8000
MAX_RATE_HZ: Final = 48000
MAX_CHUNK_S: Final = 10.0
"""Maximum length of the audio in one message, in seconds."""
MAX_CHUNK_BYTES: Final = 1_000_000
"""Maximum size of the audio in one message, in bytes of PCM (before base64)."""
_VOICE_LATE_S: Final = 0.05
"""The voice activity detector may detect the start of a word this many seconds too late."""


class ClientMessageRefused(Exception):
    """A message of a client is invalid. The text is sent to the client as the `error` of a session-error."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The audio of one message: mono samples at the session's rate."""

    pcm: Pcm
    duration_s: float


def start_rate(args: tuple[Any, ...]) -> int:
    """Return the `sampleRate` of a start-session, in Hz. Raises ClientMessageRefused if the payload is invalid."""
    return _rate(_payload(messages.START, args).get("sampleRate"), "sampleRate")


def chunk(args: tuple[Any, ...], session_rate: int) -> AudioChunk:
    """Return the audio of an audio-chunk. Raises ClientMessageRefused if the payload is invalid or too large."""
    payload = _payload(messages.CHUNK, args)
    rate = _rate(payload.get("sample_rate"), "sample_rate")
    if rate != session_rate:
        raise ClientMessageRefused(
            f"input_error: sample_rate is {rate}, but the session was started with {session_rate}"
        )
    text = payload.get("audio_base_64")
    if not isinstance(text, str):
        raise ClientMessageRefused("input_error: audio_base_64 must be a text: base64 of 16-bit little-endian mono PCM")
    max_bytes = min(MAX_CHUNK_BYTES, int(MAX_CHUNK_S * rate) * 2)
    # Check the length before decoding, so that an oversized message costs no further memory.
    if len(text) > 4 * (max_bytes // 3 + 1):
        raise ClientMessageRefused(
            f"chunk_size_exceeded: an audio-chunk may hold {max_bytes / 2 / rate:.1f} s ({max_bytes} bytes) "
            f"at {rate} Hz; this one has about {len(text) * 3 // 4} bytes"
        )
    try:
        # Without `validate`, invalid characters are skipped, and all samples after them would be shifted: noise instead
        # of an error.
        raw = pybase64.b64decode(text, validate=True)
    except ValueError as exc:
        raise ClientMessageRefused(f"input_error: audio_base_64 is not valid base64: {exc}") from None
    if len(raw) % 2:
        raise ClientMessageRefused(f"input_error: {len(raw)} bytes of audio are not whole 16-bit samples")
    if not raw:
        raise ClientMessageRefused("input_error: audio_base_64 is empty")
    return AudioChunk(np.frombuffer(raw, dtype="<i2"), len(raw) / 2 / rate)


def concatenated(chunks: list[AudioChunk]) -> Pcm:
    """Return the samples of several messages in one array."""
    return np.concatenate([chunk.pcm for chunk in chunks])


def session_started(
    session_id: str, rate: int, model: str, language: str | None, voice: EndpointingRules
) -> dict[str, Any]:
    """Return the message session_started. The session's configuration in the message has the same fields as that of the
    real service."""
    config = {
        "sample_rate": rate,
        "audio_format": f"pcm_{rate}",
        "language_code": language,
        "model_id": model,
        "commit_strategy": "vad",
        "vad_silence_threshold_secs": voice.commit_silence_s,
        "vad_threshold": voice.on,
        "min_speech_duration_ms": round(voice.min_voice_s * 1000),
        "min_silence_duration_ms": round(voice.early_silence_s * 1000),
        "max_segment_duration_secs": voice.max_segment_s,
        "include_timestamps": True,
        "include_language_detection": language is None,
        # The real service does not have this field. This server commits all received audio between stop-session and
        # session-closed.
        messages.FIELD_COMMIT_ON_STOP: True,
    }
    return {"message_type": messages.TYPE_STARTED, "session_id": session_id, "config": config}


def partial(text: str) -> dict[str, Any]:
    """Return the message for a partial text: a text that is not final, and that replaces the previous partial text."""
    return {"message_type": messages.TYPE_PARTIAL, "text": text}


def committed(recognition: Recognition, utterance: Utterance) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the two messages that commit one utterance: without and with word times. The times are seconds since the
    session's start, limited to the utterance."""
    # The real service sends both forms of each commit if word times are on, so this server does, too.
    plain = {"message_type": messages.TYPE_COMMITTED, "text": recognition.text}
    timed = {
        "message_type": messages.TYPE_COMMITTED_TIMED,
        "text": recognition.text,
        "language_code": recognition.language,
        "words": _words(recognition, utterance),
    }
    return plain, timed


def joined(parts: list[tuple[float, Recognition]]) -> Recognition:
    """Join the recognitions of the pieces of an utterance. Each piece is (offset in the utterance in seconds,
    recognition). The language is that of the first piece with text."""
    texts, words = [], []
    language = None
    for offset_s, recognition in parts:
        if not recognition.text:
            continue
        texts.append(recognition.text)
        language = language or recognition.language
        words += [RecognizedWord(w.text, w.start + offset_s, w.end + offset_s, w.logprob) for w in recognition.words]
    return Recognition("".join(_with_gap(texts)), tuple(words), language)


def _with_gap(texts: list[str]) -> list[str]:
    out: list[str] = []
    for text in texts:
        # No space beside a non-ASCII character: scripts such as Chinese and Japanese have no spaces between words.
        if out and out[-1][-1].isascii() and text[0].isascii():
            out.append(" ")
        out.append(text)
    return out


def _words(recognition: Recognition, utterance: Utterance) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    position, earliest = 0, utterance.start_s
    for word in recognition.words:
        found = recognition.text.find(word.text, position)
        start = utterance.start_s + word.start
        end = utterance.start_s + word.end
        if not out:
            # Engines often report the first word at the segment's start, which is before the voice: move it later.
            start = max(start, min(utterance.voice_start_s - _VOICE_LATE_S, end - _VOICE_LATE_S))
        start = round(min(max(start, earliest), utterance.end_s), 3)
        end = round(min(max(end, start), utterance.end_s), 3)
        if found > position and out:
            gap = recognition.text[position:found]
            out.append({"text": gap, "start": earliest, "end": start, "type": "spacing", "logprob": 0.0})
        logprob = None if word.logprob is None else round(word.logprob, 4)
        out.append({"text": word.text, "start": start, "end": end, "type": "word", "logprob": logprob})
        # `found` is -1 if the text does not contain the word literally; the search then continues at the same position.
        position = max(position, found + len(word.text))
        earliest = end
    return out


def _payload(event: str, args: tuple[Any, ...]) -> dict[str, Any]:
    if len(args) != 1 or not isinstance(args[0], dict):
        raise ClientMessageRefused(f"input_error: {event} takes one object")
    return args[0]


def _rate(value: object, name: str) -> int:
    # In Python, True is an int. The last condition is also true for NaN and infinity.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ClientMessageRefused(
            f"input_error: {name} must be a whole number of Hz from {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        )
    if not MIN_RATE_HZ <= value <= MAX_RATE_HZ:
        raise ClientMessageRefused(f"input_error: {name} {value:g} is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    return int(value)
