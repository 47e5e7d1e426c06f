"""Advanced SubStation Alpha subtitles (.ass), as libass and Aegisub read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cue import Cue
from worker.transcript.subtitles.cue_timing import cues
from worker.transcript.subtitles.style import PLAIN, Style
from worker.transcript.subtitles.text_units import Part

# One colour per channel, as &HAABBGGRR (alpha, blue, green, red). Further channels use the colours again.
_COLOURS: Final = ("&H00FFFFFF", "&H0066E0FF", "&H00FFD28C", "&H0099F5B0", "&H00C9A6FF", "&H00B3B3FF")
_HEADER: Final = """\
[Script Info]
Title: {title}
ScriptType: v4.00+
WrapStyle: 2
ScaledBorderAndShadow: yes
PlayResX: 1920
PlayResY: 1080

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
{styles}
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_STYLE: Final = (
    "Style: {name},Arial,62,{colour},&H00909090,&H00101010,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,120,120,64,1\n"
)
# Braces and backslashes in a text would start commands, so full-width characters that look alike replace them.
_SAFE: Final = str.maketrans({"{": "｛", "}": "｝", "\\": "＼"})


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield the header and one Dialogue line per cue, with times in hundredths of a second.

    Each channel has a style with its own colour, and the Name field contains the channel name. If `style.word_cues` is
    set, the words of a cue are highlighted one after the other (karaoke, `\\k`)."""
    channels = list(dict.fromkeys(segment.channel for segment in transcript.segments)) or [None]
    names = {channel: f"Channel {k + 1}" if channel else "Default" for k, channel in enumerate(channels)}
    default = next(iter(names.values()))  # for a cue of two speakers
    styles = "".join(
        _STYLE.format(name=name, colour=_COLOURS[k % len(_COLOURS)]) for k, name in enumerate(names.values())
    )
    yield _HEADER.format(title=_field(transcript.source.name), styles=styles)
    for cue in cues(transcript, style):
        lines = _karaoke(cue) if style.word_cues else [line.translate(_SAFE) for line in cue.lines]
        name = _field(cue.channel or "").replace(",", ";")
        yield f"Dialogue: 0,{_time(cue.start_ms)},{_time(cue.end_ms)},{names.get(cue.channel, default)},{name},0,0,0,,"
        yield r"\N".join(lines) + "\n"


def _karaoke(cue: Cue) -> list[str]:
    """Return the lines of a cue with `{\\kN}` before each word. The highlight of the word lasts N hundredths of a
    second."""
    parts = [part for line in cue.parts for part in line]
    starts = [min(max(part.start_ms, cue.start_ms), cue.end_ms) for part in parts]
    starts = [cue.start_ms, *starts[1:], cue.end_ms]
    lengths = iter([max(0, _hundredths(after) - _hundredths(before)) for before, after in pairwise(starts)])
    return [_filled(line, lengths) for line in cue.parts]


def _filled(line: Sequence[Part], lengths: Iterator[int]) -> str:
    return "".join(
        f"{{\\k{next(lengths)}}}{' ' if part.spaced and k else ''}{part.text.translate(_SAFE)}"
        for k, part in enumerate(line)
    )


def _time(ms: int) -> str:
    seconds, hundredths = divmod(_hundredths(ms), 100)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}.{hundredths:02}"


def _hundredths(ms: int) -> int:
    return max(0, ms) // 10


def _field(text: str) -> str:
    return " ".join(text.translate(_SAFE).split())
