"""Assesses the reliability of a finished transcript: figures, and reasons why a person should review it. No I/O.

A transcript can be complete and wrong: speech in a language that the recognizer does not know becomes invented text,
music becomes invented lyrics, and a recognizer in a loop writes one sentence twenty times. All of these errors show in
the text or in its confidence. The limits below were set with real recordings of English, Mandarin and Cantonese speech,
telephone calls, meetings and noise. Correct transcripts of them have a mean confidence of at least 0.69. English text
that a recognizer invented for Chinese speech has at most 0.58, or it repeats itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from worker.language_codes import base_language, is_cantonese, same_language
from worker.transcript.audio_events import speech_of
from worker.transcript.dialect_check import check_dialect
from worker.transcript.language_check import language_fit
from worker.transcript.model import Coverage, Quality, ReviewReason, Segment, Word
from worker.transcript.recognizer_loops import NONE, Repetition, repetition, tokens_of

MIN_CONFIDENCE: Final = 0.63
"""Mean confidence below which a transcript is likely to be wrong."""
MIN_CONFIDENCE_FEW: Final = 0.45
"""Like MIN_CONFIDENCE, for a text of fewer than FEW_WORDS words, in which a single unusual name lowers the mean."""
FEW_WORDS: Final = 4
LOW_PERCENTILE: Final = 10
"""Percentile of the word confidences that `Quality.confidence_low` reports."""
WINDOW_WORDS: Final = 25
"""Number of consecutive words whose mean confidence is checked, to find ten bad minutes in a good hour."""
MIN_WINDOW_CONFIDENCE: Final = 0.5
"""Mean confidence of WINDOW_WORDS words below which their time counts as time of low confidence."""
MIN_LOW_SHARE: Final = 0.05
MIN_LOW_S: Final = 20.0
"""A transcript is flagged for review only if at least this many seconds of it have low confidence, or MIN_LOW_SHARE of
the spoken time if that is less."""
MIN_UNANSWERED_S: Final = 2.0
"""Seconds of sound without text from which a transcript is flagged for review."""
MIN_LOOP_SHARE: Final = 0.02
MIN_LOOP_TIMES: Final = 8
"""A transcript is flagged for review if loops are at least MIN_LOOP_SHARE of its text, or if a loop has at least this
many repetitions. A chorus in an hour of talk is not flagged."""
MAX_WORDS_PER_S: Final = 7.0
"""Words a second above which text is likely to be doubled or invented."""
MAX_CHARACTERS_PER_S: Final = 14.0
"""Like MAX_WORDS_PER_S, in characters of mostly Chinese, Japanese or Korean text. Fast Cantonese has 7 a second."""
MIN_PACE_S: Final = 5.0
"""The pace of the speech is not evaluated if the segments are shorter than this in total."""
MIN_LANGUAGE_FIT: Final = 0.35
"""Minimum share of letters in the language's script. It is low because Hong Kong speech contains much English."""
MIN_FIT_LETTERS: Final = 12
"""The script is not evaluated in a text with fewer letters."""
MIN_LATIN_LETTERS: Final = 60
"""Like MIN_FIT_LETTERS, for Latin letters in Cantonese, which contains names of products and short English."""
MIN_SPEECH_SHARE: Final = 0.2
"""Minimum share of the checked time of the segments in which the speech detector finds speech."""
MIN_TRUSTED_CONFIDENCE: Final = 0.85
"""From this mean confidence on, the audio of the text is not checked by the speech detector."""
MIN_UNKNOWN_S: Final = 15.0
"""If the service gives no confidences, the audio is checked only if the segments have at least this many seconds."""
SAMPLED_SEGMENTS: Final = 4
"""Number of segments, the longest ones, whose audio is checked."""
MAX_SAMPLE_S: Final = 8.0
"""Maximum seconds of each of these segments that the speech detector checks."""
_CJK: Final = re.compile(r"[㐀-鿿぀-ヿ가-힯\U00020000-\U0003ffff]")
_NUMBER: Final = re.compile(
    r"\W*(?:\d[\d,.:%-]*|zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|hundred|thousand"
    r"|[〇零一二三四五六七八九十百千萬万兩两]+)\W*",
    re.IGNORECASE,
)
Code = Literal[
    "missing",
    "no_text",
    "low_confidence",
    "language",
    "dialect",
    "script",
    "repetition",
    "pace",
    "not_speech",
    "channels",
]


@dataclass(frozen=True, slots=True)
class QualityInputs:
    """Facts about the job and its audio that the text does not show."""

    language: str | None = None
    """Language that the job requested, or None if it requested none."""
    detected: str | None = None
    """Language that the service detected, or None if it named none."""
    unanswered_s: float = 0.0
    """Seconds of sound without text from the service."""
    speech_share: float | None = None
    """Share of the checked time of the segments in which a detector finds speech (0 to 1), or None if not checked."""
    channels: str | None = None
    """Why the mix of the channels is not reliable, or None if it is."""
    one_script: bool = False
    """Whether the output files are written in one Chinese script, whatever the service wrote."""


def assess(segments: Sequence[Segment], coverage: Coverage, inputs: QualityInputs) -> Quality:
    """Compute the quality of a finished transcript. `segments` must be in the order of the file."""
    spoken = speech_of(segment for segment in segments if segment.text)
    words = [word for segment in spoken for word in segment.words]
    text = "\n".join(segment.text for segment in spoken)
    confidences = _confidences(words)
    language = inputs.language or inputs.detected
    fit = language_fit(text, language) if language else None
    looped = _worst_loop(spoken)
    seconds = sum(segment.end - segment.start for segment in spoken)
    count = len(tokens_of(text))
    reasons = (
        _missing(coverage),
        _no_text(inputs.unanswered_s),
        _low_confidence(words, confidences, seconds),
        *_wrong_language(spoken, text, fit, inputs),
        _loops(looped),
        _too_fast(text, count, seconds),
        _not_speech(inputs.speech_share),
        _reason("channels", inputs.channels) if inputs.channels else None,
    )
    found = tuple(reason for reason in reasons if reason is not None)
    return Quality(
        confidence=_rounded(float(np.mean(confidences)) if confidences else None),
        confidence_low=_rounded(float(np.percentile(confidences, LOW_PERCENTILE)) if confidences else None),
        speech_without_text=round(inputs.unanswered_s, 3),
        repeated_text=round(looped.share, 4),
        words_per_second=round(count / seconds, 2) if seconds > 0 and count else None,
        language_fit=_rounded(fit),
        needs_review=bool(found),
        reasons=found,
    )


def ranges_to_check(segments: Sequence[Segment]) -> list[tuple[int, float, float]]:
    """Select ranges of the segments' audio in which a speech detector should check that there is speech.

    Returns (section, start, end) for each range; start and end are positions in the file, in seconds. The list is empty
    if the recognizer was confident, because text that is invented for music or noise has a low confidence. If the
    service gives no confidences, short texts are not checked, to save processor time.
    """
    spoken = [segment for segment in speech_of(segments) if segment.text and segment.end > segment.start]
    confidences = _confidences([word for segment in spoken for word in segment.words])
    seconds = sum(segment.end - segment.start for segment in spoken)
    if not spoken or (confidences and float(np.mean(confidences)) >= MIN_TRUSTED_CONFIDENCE):
        return []
    if not confidences and seconds < MIN_UNKNOWN_S:
        return []
    longest = sorted(spoken, key=lambda segment: segment.start - segment.end)[:SAMPLED_SEGMENTS]
    return [
        (segment.section, segment.start, min(segment.end, segment.start + MAX_SAMPLE_S))
        for segment in sorted(longest, key=lambda segment: (segment.section, segment.start))
    ]


def _confidences(words: Sequence[Word]) -> list[float]:
    """Return the confidences of all words except numbers.

    Numbers have a low confidence even if they are correct, because `nine` and `9` compete for the same sound."""
    return [word.confidence for word in words if word.confidence is not None and not _NUMBER.fullmatch(word.text)]


def _missing(coverage: Coverage) -> ReviewReason | None:
    seconds = sum(gap.end - gap.start for gap in coverage.missing)
    if not coverage.missing:
        return None
    return _reason("missing", f"{seconds:.1f} s of the audio are missing from the transcript: see coverage.missing")


def _no_text(seconds: float) -> ReviewReason | None:
    if seconds < MIN_UNANSWERED_S:
        return None
    return _reason("no_text", f"the service gave no text for {seconds:.1f} s of sound: listen to them")


def _low_confidence(words: Sequence[Word], confidences: Sequence[float], seconds: float) -> ReviewReason | None:
    if not confidences:
        return None
    mean = float(np.mean(confidences))
    if mean < (MIN_CONFIDENCE if len(confidences) >= FEW_WORDS else MIN_CONFIDENCE_FEW):
        return _reason(
            "low_confidence",
            f"the recognizer was unsure (mean confidence {mean:.2f}): the speech may be in a language it does not "
            "know, or hard to hear; name the language with -l CODE, or choose another model",
        )
    ranges = _low_ranges(words)
    low_s = sum(end - start for start, end in ranges)
    if not ranges or low_s < min(MIN_LOW_S, MIN_LOW_SHARE * seconds):
        return None
    start, end = max(ranges, key=lambda one: one[1] - one[0])
    return _reason(
        "low_confidence",
        f"the recognizer was unsure for {low_s:.0f} s, longest from {start:.1f} to {end:.1f} s: read these",
    )


def _low_ranges(words: Sequence[Word]) -> list[tuple[float, float]]:
    """Return the ranges (positions in the file, in seconds) in which WINDOW_WORDS consecutive words have a low mean
    confidence."""
    known = [word for word in words if word.confidence is not None and not _NUMBER.fullmatch(word.text)]
    if len(known) < 2 * WINDOW_WORDS:  # a shorter text is judged as a whole
        return []
    values = np.array([word.confidence for word in known], dtype=np.float64)
    # The mean of each window, from a running sum.
    sums = np.cumsum(np.concatenate([[0.0], values]))
    means = (sums[WINDOW_WORDS:] - sums[:-WINDOW_WORDS]) / WINDOW_WORDS
    ranges: list[tuple[float, float]] = []
    for first in np.flatnonzero(means < MIN_WINDOW_CONFIDENCE).tolist():
        start, end = known[first].start, known[first + WINDOW_WORDS - 1].end
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
        else:
            ranges.append((start, end))
    return ranges


def _wrong_language(
    spoken: Sequence[Segment], text: str, fit: float | None, inputs: QualityInputs
) -> tuple[ReviewReason, ...]:
    """Return the reasons for a review that follow from the language of the text. Each code occurs at most once."""
    asked = inputs.language
    dialect = check_dialect(spoken) if asked and is_cantonese(asked) else ()
    found: dict[str, ReviewReason] = {}
    # The dialect check describes English text more exactly than the check of its script.
    for reason in (_detected_language(inputs), *dialect, _other_script(text, fit, inputs)):
        if reason is not None and not (reason.code == "script" and inputs.one_script):
            found.setdefault(reason.code, reason)
    return tuple(found.values())


def _detected_language(inputs: QualityInputs) -> ReviewReason | None:
    asked, detected = inputs.language, inputs.detected
    if asked and detected and not same_language(asked, detected):
        return _reason(
            "language",
            f"{asked} was requested, and the service recognized {detected}: choose a model or service that knows "
            f"{asked}",
        )
    return None


def _other_script(text: str, fit: float | None, inputs: QualityInputs) -> ReviewReason | None:
    asked, detected = inputs.language, inputs.detected
    letters = sum(character.isalpha() for character in text)
    latin = sum(character.isascii() and character.isalpha() for character in text)
    least = MIN_LATIN_LETTERS if asked and is_cantonese(asked) and 2 * latin > letters else MIN_FIT_LETTERS
    if fit is not None and fit < MIN_LANGUAGE_FIT and letters >= least:
        language = base_language(asked or detected or "")
        return _reason(
            "language",
            f"only {fit:.0%} of the letters belong to the script of {language}: the recognizer does not know the "
            "language, or the speech is in another language",
        )
    return None


def _worst_loop(segments: Sequence[Segment]) -> Repetition:
    """Find the channel in which loops are the largest share of the text, and return its loops.

    Each channel is searched separately, because the same words from two people are not a loop."""
    channels: dict[str | None, list[str]] = {}
    for segment in segments:
        channels.setdefault(segment.channel, []).extend(tokens_of(segment.text))
    return max((repetition(tokens) for tokens in channels.values()), key=lambda found: found.share, default=NONE)


def _loops(looped: Repetition) -> ReviewReason | None:
    if looped.times == 1 or (looped.share < MIN_LOOP_SHARE and looped.times < MIN_LOOP_TIMES):
        return None
    unit = looped.unit if len(looped.unit) <= 60 else f"{looped.unit[:59]}…"
    return _reason("repetition", f"the text repeats itself ({looped.times} times in a row: {unit!r}): listen to it")


def _too_fast(text: str, count: int, seconds: float) -> ReviewReason | None:
    if seconds < MIN_PACE_S:
        return None
    pace = count / seconds
    cjk = len(_CJK.findall(text))
    most = MAX_CHARACTERS_PER_S if cjk * 2 > count else MAX_WORDS_PER_S
    if pace <= most:
        return None
    return _reason("pace", f"{pace:.1f} words a second are more than people say: text may be doubled or invented")


def _not_speech(share: float | None) -> ReviewReason | None:
    if share is None or share >= MIN_SPEECH_SHARE:
        return None
    text = "the speech detector finds no speech under the text: it may be invented for music or noise"
    return _reason("not_speech", text)


def _reason(code: Code, text: str) -> ReviewReason:
    return ReviewReason(code=code, text=text)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


__all__ = ["QualityInputs", "assess", "ranges_to_check"]
