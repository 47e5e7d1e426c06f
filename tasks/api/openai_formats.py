"""Transcripts in the response formats of OpenAI's transcription API. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from tasks.api.problems import Problem
from worker.transcript.model import Segment, Transcript

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES: Final = ("segment", "word")
LANGUAGE: Final = r"^([A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8})*)?$"
"""A language tag such as `en`, `yue` or `zh-Hant-HK`, or an English name such as `english`. Only the
service knows which languages it supports, so an unknown one fails the job later."""
MAX_LANGUAGE: Final = 35
_CJK: Final = 0x2E80
"""Characters from here on are written without spaces between words."""


class Usage(BaseModel):
    """The amount of audio, in whole seconds."""

    type: Literal["duration"] = "duration"
    seconds: int


class Transcription(BaseModel):
    """The format `json`."""

    text: str
    usage: Usage


class OpenAiSegment(BaseModel):
    """A segment of the format `verbose_json`. Fields that the service does not know have neutral values."""

    id: int
    seek: int = 0
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float = 0.0
    avg_logprob: float = Field(description="mean logarithm of the confidences of the words; 0 without confidences")
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0


class OpenAiWord(BaseModel):
    """A word of the format `verbose_json`."""

    word: str
    start: float
    end: float


class VerboseTranscription(BaseModel):
    """The format `verbose_json`."""

    task: Literal["transcribe"] = "transcribe"
    language: str
    duration: float
    text: str
    segments: list[OpenAiSegment] | None = None
    words: list[OpenAiWord] | None = None
    usage: Usage


class TranscriptionRequest(BaseModel):
    """The fields of the form, apart from the file."""

    language: str | None
    response_format: str
    granularities: tuple[str, ...]
    stream: bool


def request_of(fields: Sequence[tuple[str, str]]) -> TranscriptionRequest:
    """Read the fields of the form. `model`, `prompt`, `temperature` and unknown fields are ignored. Raises Problem
    400."""
    single = {name: value for name, value in fields if value}
    chosen = single.get("response_format", "json")
    if chosen not in FORMATS:
        raise _bad(f"response_format {chosen[:40]!r} is not supported; use {', '.join(FORMATS)}", "response_format")
    language = single.get("language")
    if language is not None and not (len(language) <= MAX_LANGUAGE and re.fullmatch(LANGUAGE, language)):
        raise _bad(f"language {language[:40]!r} is not a language code, such as en or zh-HK", "language")
    names = ("timestamp_granularities", "timestamp_granularities[]")
    wanted = tuple(part for name, value in fields if name in names for part in value.split(",") if part)
    if any(one not in GRANULARITIES for one in wanted):
        raise _bad("timestamp_granularities must be word or segment", "timestamp_granularities")
    if wanted and chosen != "verbose_json":
        raise _bad("timestamp_granularities needs response_format verbose_json", "timestamp_granularities")
    stream = single.get("stream", "false").lower()
    if stream not in ("true", "false", "0", "1"):
        raise _bad("stream must be true or false", "stream")
    if stream in ("true", "1") and chosen not in ("json", "text"):
        raise _bad("stream needs response_format json or text", "stream")
    if "temperature" in single and not _is_temperature(single["temperature"]):
        raise _bad("temperature must be a number from 0 to 1", "temperature")
    return TranscriptionRequest(
        language=language,
        response_format=chosen,
        granularities=wanted or ("segment",),
        stream=stream in ("true", "1"),
    )


def _is_temperature(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _bad(detail: str, param: str) -> Problem:
    return Problem(400, detail, code="invalid_value", param=param)


def separator(before: str, text: str) -> str:
    """Return the text between two segments: a space, but none next to a Chinese, Japanese or Korean character."""
    if not before or not text or before[-1].isspace() or text[0].isspace():
        return ""
    return "" if ord(before[-1]) >= _CJK or ord(text[0]) >= _CJK else " "


def joined(texts: Iterable[str]) -> str:
    """Return the texts of segments as one line."""
    whole = ""
    for text in texts:
        whole += separator(whole[-1:], text) + text
    return whole


def usage_of(transcript: Transcript) -> Usage:
    return Usage(seconds=math.ceil(transcript.source.duration))


def plain(transcript: Transcript) -> Transcription:
    text = joined(segment.text for segment in transcript.segments)
    return Transcription(text=text, usage=usage_of(transcript))


def verbose(transcript: Transcript, granularities: Sequence[str]) -> VerboseTranscription:
    """Return the format `verbose_json` with the segments or words that `granularities` names."""
    segments = transcript.segments
    return VerboseTranscription(
        language=transcript.language or "",
        duration=transcript.source.duration,
        text=joined(segment.text for segment in segments),
        segments=[_segment(i, one) for i, one in enumerate(segments)] if "segment" in granularities else None,
        words=[OpenAiWord(word=word.text, start=word.start, end=word.end) for one in segments for word in one.words]
        if "word" in granularities
        else None,
        usage=usage_of(transcript),
    )


def _segment(number: int, segment: Segment) -> OpenAiSegment:
    known = [word.confidence for word in segment.words if word.confidence]
    mean = sum(map(math.log, known)) / len(known) if known else 0.0
    return OpenAiSegment(id=number, start=segment.start, end=segment.end, text=segment.text, avg_logprob=round(mean, 4))


def delta(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text}


def done(text: str, transcript: Transcript) -> dict[str, Any]:
    return {"type": "transcript.text.done", "text": text, "usage": usage_of(transcript).model_dump()}


__all__ = ["Transcription", "VerboseTranscription", "delta", "done", "joined", "plain", "request_of", "verbose"]
