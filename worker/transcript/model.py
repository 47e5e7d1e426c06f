"""What a transcript is: the values that are written as JSON and that every output format reads.

All times are seconds from the start of the source file. The JSON Schema of the document is
`Transcript.model_json_schema()`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

SCHEMA_VERSION = 1
MISSING_S = 1.0
"""From this many seconds, speech without text counts as missing; less is a warning."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


# Ten hours of speech hold tens of thousands of words: with slots one takes a third of a model's memory.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore"))
class Word:
    """One recognized word with its place in the file."""

    text: str
    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    confidence: float | None = Field(default=None, description="0 to 1; null when the service gave none")


class Segment(_Value):
    """One commit of the service, as it stands in the finished transcript."""

    text: str
    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    words: tuple[Word, ...] = ()
    language: str | None = Field(default=None, description="language the service detected, if it said so")
    timing: Literal["measured", "estimated"] = Field(
        default="measured",
        description="measured: from the service's word times; estimated: from the audio sent when it came",
    )
    committed: bool = Field(default=True, description="false: a last partial that the service never committed")
    section: int = Field(default=0, description="the section of the source it was heard in, from 0")
    channel: str | None = Field(
        default=None,
        description="name of the source's channel, its number from 1 where it was given none; null when all were mixed,"
        " or when a single one was asked for without a name",
    )


class Source(_Value):
    """The audio that was transcribed, as it was found."""

    name: str = Field(description="file name without folders")
    path: str = Field(description="path or address as the job gave it")
    sha256: str
    size_bytes: int
    duration: float = Field(description="seconds of audio that could be decoded")
    sample_rate: int = Field(description="Hz, of the source")
    channels: int
    format: str = Field(description="container and coding, for example FLAC/PCM_16")


class SessionFacts(_Value):
    """One real-time session the transcript was made with."""

    session_id: str | None
    model: str | None = None
    channel: str | None = Field(default=None, description="as that of a segment")
    start: float = Field(description="first file second this session was sent")
    end: float = Field(description="last file second this session was sent")
    silence: float = Field(default=0.0, description="seconds of silence sent after it, so that the tail was committed")
    ended: str = Field(default="completed", description="how it ended")
    close_code: int | None = None


class Gap(_Value):
    """Seconds of the source whose words are not in the transcript, or not surely."""

    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    channel: str | None = Field(default=None, description="as that of a segment")
    reason: str


class TimeRange(_Value):
    """A piece of the source; seconds from its start."""

    start: float
    end: float
    channel: str | None = Field(default=None, description="as that of a segment")


class UnansweredSound(_Value):
    """Seconds of sound for which the service gave no text."""

    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    channel: str | None = Field(default=None, description="as that of a segment")
    sound: Literal["speech", "noise", "unknown"] = Field(
        description="by the speech detector: speech, or noise and music; unknown: no detector was installed"
    )
    seconds: float = Field(description="seconds of speech, or of other sound, in it")
    sessions: int = Field(
        default=1, description="number of sessions in which it was streamed; 1: it was not streamed again"
    )
    reason: str

    @property
    def likely_speech(self) -> bool:
        """Whether it was streamed in a second session, or would have been if the service had answered."""
        return self.sound != "noise" or self.sessions > 1

    @property
    def missing(self) -> bool:
        """Whether it makes the job incomplete: speech that is too long for a misclassified breath."""
        return self.sound == "speech" and self.seconds >= MISSING_S


class SilenceSavings(_Value):
    """What leaving silence out saved."""

    minutes: float = Field(description="minutes of audio that were not streamed")
    money: float | None = Field(default=None, description="their price; null when none was given")
    detector: str = Field(description="what told speech: silero, or level")


class SectionFacts(_Value):
    """One stretch of the source and how far each step got with it; samples at the wire rate, from the file's start."""

    start: int
    end: int
    channel: str | None = Field(default=None, description="as that of a segment")
    sent: int = Field(description="audio was sent up to here")
    heard: int = Field(description="the service gave a sign of life after audio up to here")
    committed: int = Field(description="end of the last committed word")
    finished: bool = Field(description="all of it was sent and the service committed what it heard")
    dropped: int = Field(
        default=0, description="repeated pieces of text that were dropped: there was no sound for them"
    )
    unanswered: tuple[UnansweredSound, ...] = Field(
        default=(), description="unanswered sound of the file in this section"
    )


class ChannelFacts(_Value):
    """One channel of the source that was asked for."""

    number: int = Field(description="of the source, from 1")
    name: str | None = Field(description="what its segments carry")
    sent: float = Field(description="seconds of it that were sent")
    reason: str | None = Field(default=None, description="why none of it was sent; null where some was")


class Coverage(_Value):
    """Where every sample of the source went. Seconds, but for the sections."""

    duration: float = Field(description="length of the source")
    sent: float = Field(description="audio that was sent, of all channels together")
    committed_until: float = Field(description="end of the last committed word")
    sample_rate: int = Field(default=16000, description="Hz of the sections' samples")
    channels: tuple[ChannelFacts, ...] = Field(default=(), description="empty when all were mixed")
    sections: tuple[SectionFacts, ...] = ()
    skipped: tuple[TimeRange, ...] = Field(default=(), description="not streamed, because it holds no speech")
    missing: tuple[Gap, ...] = ()
    unanswered: tuple[UnansweredSound, ...] = Field(
        default=(), description="sound without text; a second of speech or more is also in missing"
    )

    @property
    def complete(self) -> bool:
        """Every sample was sent and the service committed what it heard."""
        return not self.missing


class ReviewReason(_Value):
    """A reason for a person to review a transcript."""

    code: str = Field(
        description="missing, no_text, low_confidence, language, repetition, pace, not_speech or channels"
    )
    text: str = Field(description="the reason in words, with figures")


class Quality(_Value):
    """Estimated reliability of a transcript."""

    confidence: float | None = Field(
        default=None, description="mean confidence of the words except numbers, 0 to 1; null without confidences"
    )
    confidence_low: float | None = Field(default=None, description="tenth percentile of the confidence, 0 to 1")
    speech_without_text: float = Field(default=0.0, description="seconds of sound without text from the service")
    repeated_text: float = Field(default=0.0, description="share of the words that only repeat others, 0 to 1")
    words_per_second: float | None = Field(
        default=None, description="words a second in segments; a Chinese, Japanese or Korean character is a word"
    )
    language_fit: float | None = Field(
        default=None, description="share of the letters in the language's script, 0 to 1; null if unknown"
    )
    needs_review: bool = Field(default=False, description="whether there is a reason for a review")
    reasons: tuple[ReviewReason, ...] = ()


class SpeedReduction(_Value):
    """The service was overrun, and the speed was lowered."""

    speed: float = Field(description="factor of real time from then on")
    after: float = Field(description="seconds from the start of the job")
    reason: str


class Transcript(_Value):
    """The finished document of one job."""

    schema_version: int = SCHEMA_VERSION
    job_id: str
    language: str | None = None
    text: str = Field(description="all segments joined, a line each")
    segments: tuple[Segment, ...]
    source: Source
    sessions: tuple[SessionFacts, ...] = ()
    coverage: Coverage
    saved: SilenceSavings | None = Field(default=None, description="null when silence was not looked for")
    speed: str = Field(description="pace asked for: a factor of real time, max or auto")
    speed_reached: float | None = Field(default=None, description="factor `auto` had come to at the end")
    speed_falls: tuple[SpeedReduction, ...] = ()
    failures: tuple[str, ...] = Field(
        default=(), description="why sessions ended early, in order; each was followed up"
    )
    warnings: tuple[str, ...] = ()
    quality: Quality | None = Field(default=None, description="null in documents of older versions")
    created_at: str = Field(description="ISO 8601, UTC")
    elapsed: float = Field(description="seconds from the start of the job to the finished transcript")
    endpoint: str = Field(description="address of the service, without key or query")
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def gave_up(self) -> str | None:
        """Why the rest is missing, where sessions failed in a way that may be over in a while, or None otherwise."""
        return next((gap.reason for gap in self.coverage.missing if gap.reason in self.failures), None)
