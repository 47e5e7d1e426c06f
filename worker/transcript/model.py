"""The transcript document. It is written as JSON, and all other output formats are made from it.

All times are seconds from the start of the source file. `Transcript.model_json_schema()` is the JSON Schema.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.dataclasses import dataclass

SCHEMA_VERSION = 1
MIN_MISSING_S = 1.0
"""At least this many seconds of speech without text make the transcript incomplete. Shorter speech only causes a
warning."""


class _TranscriptPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


# A dataclass and not a model, because ten hours of speech have tens of thousands of words: with slots, a word takes a
# third of the memory.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore"))
class Word:
    """One recognized word with its times."""

    text: str
    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    confidence: float | None = Field(default=None, description="0 to 1; null if the service gave none")

    @property
    def middle(self) -> float:
        """Middle of the word, in seconds from the start of the file."""
        return (self.start + self.end) / 2


class Correction(_TranscriptPart):
    """A correction of recognized text by the job's glossary."""

    heard: str = Field(description="text of the service")
    wanted: str = Field(description="text of the glossary")
    position: int = Field(description="index of the corrected term in the segment's text, in characters")


class Segment(_TranscriptPart):
    """One commit (final text) of the service, without falsely repeated text, with times in the file. A commit that
    surrounds the text of another one is divided into several segments."""

    text: str
    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    words: tuple[Word, ...] = ()
    language: str | None = Field(default=None, description="language that the service detected; null if it named none")
    timing: Literal["measured", "estimated"] = Field(
        default="measured",
        description="measured: from the service's word times; estimated: from the audio sent before the text arrived",
    )
    committed: bool = Field(default=True, description="false: a last partial that the service never committed")
    section: int = Field(default=0, description="index of the section of the source, from 0")
    channel: str | None = Field(
        default=None,
        description="name of the source's channel, or its number from 1 if it has no name; null if all channels were"
        " mixed, or if a single channel was requested without a name",
    )
    original_text: str | None = Field(
        default=None, description="text of the service before corrections; null if the glossary changed nothing"
    )
    corrections: tuple[Correction, ...] = Field(default=(), description="corrections by the job's glossary, in order")


class Source(_TranscriptPart):
    """The audio that was transcribed."""

    name: str = Field(description="file name without folders")
    path: str = Field(description="path or address in the job")
    sha256: str
    size_bytes: int
    duration: float = Field(description="seconds of audio that could be decoded")
    sample_rate: int = Field(description="Hz, of the source")
    channels: int
    format: str = Field(description="container and codec, for example FLAC/PCM_16")


class SessionFacts(_TranscriptPart):
    """One real-time session that contributed to the transcript."""

    session_id: str | None
    model: str | None = None
    channel: str | None = Field(default=None, description="as that of a segment")
    start: float = Field(description="position in the file, in seconds, at which the audio of the session begins")
    end: float = Field(description="position in the file, in seconds, at which the audio of the session ends")
    silence: float = Field(default=0.0, description="seconds of silence sent after the audio, to commit its last words")
    ended: str = Field(default="completed", description="reason for the end of the session")
    close_code: int | None = None


class SessionOption(_TranscriptPart):
    """One option that was added to `start-session`, and its result."""

    name: str
    requested: JsonValue
    result: Literal["confirmed", "changed", "unconfirmed", "refused"] = Field(
        description="confirmed: the service's configuration has the value; changed: it has another one; unconfirmed: it"
        " does not have the option; refused: sessions were opened again without it"
    )
    detail: str = Field(
        default="", description="value in the service's configuration, or its reason, at most 200 characters"
    )


class Gap(_TranscriptPart):
    """A part of the source whose words are, or may be, missing from the transcript."""

    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    channel: str | None = Field(default=None, description="as that of a segment")
    reason: str


class TimeRange(_TranscriptPart):
    """A part of the source. Positions are seconds from the start of the file."""

    start: float
    end: float
    channel: str | None = Field(default=None, description="as that of a segment")


class UnansweredSound(_TranscriptPart):
    """A part of the source with sound for which the service returned no text."""

    start: float = Field(description="seconds from the start of the file")
    end: float = Field(description="seconds from the start of the file")
    channel: str | None = Field(default=None, description="as that of a segment")
    sound: Literal["speech", "noise", "unknown"] = Field(
        description="result of the speech detector; noise includes music; unknown: no detector was installed"
    )
    seconds: float = Field(description="seconds of speech, or of other sound, between start and end")
    sessions: int = Field(
        default=1, description="number of sessions in which the sound was streamed; 1: it was not streamed again"
    )
    reason: str

    @property
    def likely_speech(self) -> bool:
        """Whether the sound is probably speech, so that it should be streamed a second time or has been."""
        return self.sound != "noise" or self.sessions > 1

    @property
    def missing(self) -> bool:
        """Whether the sound makes the transcript incomplete.

        The sound does if it is at least MIN_MISSING_S of speech. Shorter speech does not, because the detector may
        mistake a breath for speech."""
        return self.sound == "speech" and self.seconds >= MIN_MISSING_S


class SilenceSavings(_TranscriptPart):
    """Savings from skipped silence."""

    minutes: float = Field(description="minutes of audio that were not streamed")
    money: float | None = Field(default=None, description="price of these minutes; null without a configured price")
    detector: str = Field(description="method of speech detection: silero or level")


class SectionFacts(_TranscriptPart):
    """One section of the source, and the position that each step of its transcription reached.

    Positions are samples from the start of the file, at the sample rate of the sent audio."""

    start: int
    end: int
    channel: str | None = Field(default=None, description="as that of a segment")
    sent: int = Field(description="end of the audio that was sent")
    heard: int = Field(description="end of the audio that was sent before the last message of the service")
    committed: int = Field(description="end of the last committed word")
    finished: bool = Field(description="all audio was sent and its text was committed")
    dropped: int = Field(
        default=0, description="number of repeated pieces of text that were dropped because no sound was left for them"
    )
    unanswered: tuple[UnansweredSound, ...] = Field(
        default=(), description="unanswered sound of the file in this section"
    )


class ChannelFacts(_TranscriptPart):
    """One requested channel of the source."""

    number: int = Field(description="number of the channel in the source, from 1")
    name: str | None = Field(description="channel name in the segments")
    sent: float = Field(description="seconds of the channel that were sent")
    reason: str | None = Field(default=None, description="why the channel was not sent; null if it was")


class Coverage(_TranscriptPart):
    """Lists which parts of the source were sent, skipped or missed. All times are seconds, except in `sections`."""

    duration: float = Field(description="length of the source")
    sent: float = Field(description="audio that was sent, the sum of all channels")
    committed_until: float = Field(description="end of the last committed word")
    sample_rate: int = Field(default=16000, description="sample rate of the sections in Hz")
    channels: tuple[ChannelFacts, ...] = Field(default=(), description="empty if all channels were mixed")
    sections: tuple[SectionFacts, ...] = ()
    skipped: tuple[TimeRange, ...] = Field(default=(), description="silence that was not streamed")
    missing: tuple[Gap, ...] = ()
    unanswered: tuple[UnansweredSound, ...] = Field(
        default=(), description="sound without text; a second of speech or more is also in missing"
    )

    @property
    def complete(self) -> bool:
        """Whether all audio was sent and all text was committed."""
        return not self.missing


class ReviewReason(_TranscriptPart):
    """A reason for a person to review a transcript."""

    code: str = Field(
        description="missing, no_text, low_confidence, language, dialect, script, repetition, pace, not_speech or"
        " channels"
    )
    text: str = Field(description="the reason in words, with figures")


class Quality(_TranscriptPart):
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


class SpeedReduction(_TranscriptPart):
    """A reduction of the sending speed, because the service could not process audio fast enough."""

    speed: float = Field(description="new speed as a factor of real time")
    after: float = Field(description="seconds from the start of the job")
    reason: str


class SegmentChange(_TranscriptPart):
    """The corrected state of one segment. A field that is null does not change the segment."""

    segment: int = Field(description="index in `segments`, from 0")
    text: str | None = Field(default=None, description="corrected text; an empty text removes the segment")
    words: tuple[Word, ...] = Field(default=(), description="words of the corrected text, with their times")
    speaker: str | None = Field(default=None, description="name of the speaker; an empty name removes the name")
    reviewed: bool | None = Field(default=None, description="whether a person has checked the segment")


class Revision(_TranscriptPart):
    """The corrections that a person saved at one time. Its changes follow those of all earlier revisions."""

    id: str = Field(description="unique name of the revision, 8 to 64 letters, digits and hyphens")
    created_at: str = Field(description="ISO 8601, UTC")
    editor: str | None = Field(default=None, description="name of the person; null if unknown")
    speakers: dict[str, str] = Field(
        default_factory=dict,
        description="new names of speakers, by their current name; the name of segments without a speaker is empty",
    )
    changes: tuple[SegmentChange, ...] = ()


class Waveform(_TranscriptPart):
    """The loudness of the streamed audio, for a drawing."""

    step: float = Field(description="seconds of audio for each level")
    levels: str = Field(
        description="base64 of one byte for each step: 0 if the audio was not streamed by the last attempt, otherwise"
        " 1 (-90 dBFS or less) to 255 (0 dBFS)"
    )


class Streamed(_TranscriptPart):
    """The audio that the last attempt at the job streamed, and the time that this took."""

    audio: float = Field(description="seconds of the file that were streamed, without skipped silence")
    time: float = Field(description="seconds in which at least one session of the job was open")

    @property
    def speed(self) -> float | None:
        """Seconds of audio per second of streaming, or None if nothing was streamed."""
        return self.audio / self.time if self.audio and self.time else None


class Transcript(_TranscriptPart):
    """The finished transcript of one job. `segments` and `text` are the original; `revisions` has the corrections."""

    schema_version: int = SCHEMA_VERSION
    job_id: str
    language: str | None = None
    text: str = Field(description="text of all segments, one per line")
    segments: tuple[Segment, ...]
    source: Source
    sessions: tuple[SessionFacts, ...] = ()
    session_options: tuple[SessionOption, ...] = Field(
        default=(), description="requested options of the sessions; empty if there were none"
    )
    coverage: Coverage
    saved: SilenceSavings | None = Field(default=None, description="null if silence was not skipped")
    speed: str = Field(description="requested speed: a factor of real time, max or auto")
    speed_reached: float | None = Field(default=None, description="factor of real time at the end, for auto")
    speed_falls: tuple[SpeedReduction, ...] = ()
    failures: tuple[str, ...] = Field(
        default=(), description="why sessions ended early, in order; each session was continued if possible"
    )
    warnings: tuple[str, ...] = ()
    quality: Quality | None = Field(default=None, description="null in documents of older versions")
    created_at: str = Field(description="ISO 8601, UTC")
    elapsed: float = Field(description="seconds from the start of the job to the finished transcript")
    streamed: Streamed | None = Field(default=None, description="null in documents of older versions")
    endpoint: str = Field(description="address of the service, without key or query")
    versions: dict[str, str] = Field(default_factory=dict)
    waveform: Waveform | None = Field(default=None, description="null in documents of older versions")
    revisions: tuple[Revision, ...] = Field(
        default=(), description="corrections by people, the oldest first; every format but JSON contains the result"
    )

    @property
    def session_failure(self) -> str | None:
        """The reason for which sessions failed, if audio is missing because none of their retries succeeded. Otherwise
        None."""
        return next((gap.reason for gap in self.coverage.missing if gap.reason in self.failures), None)
