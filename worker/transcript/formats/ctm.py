"""Time-marked words (.ctm), the format of NIST's scoring tools (sclite).

https://github.com/usnistgov/SCTK, doc/infmts.htm: one line per word, `source channel start duration word confidence`,
ordered by source, channel and time.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.audio_events import speech_of
from worker.transcript.model import Segment, Transcript
from worker.transcript.subtitles.style import PLAIN, Style
from worker.transcript.subtitles.word_alignment import AlignedPiece, align


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield one line per word. The word includes the punctuation next to it. Times are seconds.

    The confidence field is omitted if the service gave none. The channel field is `1` for segments without a channel
    name. Spaces within a field become `_`. Audio events are not written, because the format contains only words."""
    del style
    source = _token(transcript.source.name.lstrip(";"))  # because lines that begin with ;; are comments
    channels: dict[str, list[Segment]] = {}
    for segment in sorted(speech_of(transcript.segments), key=lambda segment: segment.start):
        channels.setdefault(_token(segment.channel or "1"), []).append(segment)
    for channel, segments in sorted(channels.items()):
        words = sorted((word for segment in segments for word in align(segment)), key=lambda word: word.start)
        for word in words:
            yield f"{source} {channel} {_line(word)}\n"


def _line(word: AlignedPiece) -> str:
    start = round(word.start, 3)
    confidence = "" if word.confidence is None else f" {min(1.0, max(0.0, word.confidence)):.4f}"
    return f"{start:.3f} {max(0.0, round(word.end, 3) - start):.3f} {_token(word.text)}{confidence}"


def _token(text: str) -> str:
    return "_".join(text.split()) or "_"
