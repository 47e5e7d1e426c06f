"""Writes a transcript as one page (.html) to read, play, search and correct, without a network or a server.

The page contains everything except the audio. It looks for the audio relative to its own location, then at the path of
the source, then in its own folder. If the page does not find the audio, the reader selects the file. The text of a
transcript is untrusted, so it is escaped, and the content security policy only allows the page's own script.

Each paragraph is plain text, followed by a data block with its words. The script of the page makes elements of the
words only near the visible part, so a page of many hours opens and scrolls quickly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import PurePath
from string import Template
from typing import Any, Final

from worker.page_assets import asset, json_block, policy, script
from worker.transcript.formats.page_audio import audio_addresses, web_address
from worker.transcript.formats.page_paragraphs import Paragraph, paragraphs
from worker.transcript.model import Gap, Transcript
from worker.transcript.revisions import SegmentState, last_revision, states
from worker.transcript.subtitles.cjk_spacing import is_cjk
from worker.transcript.subtitles.style import PLAIN, Style
from worker.transcript.subtitles.word_alignment import AlignedPiece, align, join

_PACKAGE: Final = "worker.transcript.formats"
_SCRIPTS: Final = tuple(
    f"page/{name}.js"
    for name in (
        *("data", "paragraphs", "player", "waveform", "search"),
        *("revisions", "editor", "speakers", "saving", "subtitles", "documents", "sharing", "keyboard"),
    )
)
_SEGMENTS_MARK: Final = "<!-- segments -->\n"
_COLOURS: Final = 6  # number of speaker colours in page.css
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
# Language tags by the option for the Chinese script.
_SCRIPT_TAGS: Final = {"hk": "zh-HK", "tw": "zh-TW", "cn": "zh-CN"}
_REVIEWED, _EDITED, _NOT_COMMITTED, _ESTIMATED = 1, 2, 4, 8
"""Flags of a segment in the data of the page."""
_MAX_SIZE: Final = 20
"""Number of the largest size class of a paragraph in page.css."""
_LINE: Final = 75
"""Columns of a line of a paragraph on a wide screen, to estimate its height."""


@dataclass(frozen=True, slots=True)
class PageServer:
    """Where a page saves corrections: with PATCH at an address of its own server."""

    url: str
    etag: str
    """Version of the transcript in the page."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the request, such as a token against requests of other sites."""


def pieces(
    transcript: Transcript,
    style: Style = PLAIN,
    place: str | None = None,
    *,
    history: Sequence[SegmentState] | None = None,
    absolute_paths: bool = False,
    server: PageServer | None = None,
) -> Iterator[str]:
    """Yield the start of the page, one element per paragraph and per missing part of the audio, and its end.

    The elements are in order of time. `transcript`: its segments have their current text. `history`: the state of each
    segment, or None to compute it from `transcript`. `place`: absolute path or address of the page, used to compute the
    relative path to the audio. `absolute_paths`: whether the page may contain absolute paths of this machine.
    `server`: the server that accepts corrections; without it the page offers them as a file.
    """
    history = states(transcript) if history is None else history
    head, tail = asset(_PACKAGE, "page/page.html").split(_SEGMENTS_MARK)
    language = _lang(transcript.language, style)
    path, name = transcript.source.path, transcript.source.name
    web = web_address(path)
    sources = audio_addresses(path, name, place, web, absolute_paths=absolute_paths)
    hidden = "" if absolute_paths or not PurePath(path).is_absolute() else path
    names = list(dict.fromkeys(state.segment.channel or "" for state in history)) or [""]
    values = {
        "policy": escape(_policy(web[0] if web is not None else None, saves=server is not None)),
        "title": escape(transcript.source.name),
        "style": asset(_PACKAGE, "page/page.css"),
        "script": _script(),
        "facts": "".join(f"<span>{escape(fact)}</span>" for fact in _facts(transcript)),
        "notices": "".join(
            f'<p class="notice">{escape(_without_path(text, hidden, name))}</p>\n' for text in _notices(transcript)
        ),
        "lang": language,
        "duration": f"{transcript.source.duration:.3f}",
        "length": _clock(transcript.source.duration),
        "sources": "".join(f'<source src="{escape(address)}">\n' for address in sources),
        "about": json_block(_about(transcript, names, server), id="about"),
    }
    yield Template(head).substitute(values)
    yield from _body(transcript, history, names, style, language, hidden)
    yield Template(tail).substitute(values)


def _about(transcript: Transcript, names: list[str], server: PageServer | None) -> dict[str, Any]:
    """Return the facts that the script of the page needs."""
    wave = transcript.waveform
    return {
        "job": transcript.job_id,
        "sha256": transcript.source.sha256,
        "name": transcript.source.name,
        "created": transcript.created_at,
        "base": last_revision(transcript),
        "known": [revision.id for revision in transcript.revisions],
        "speakers": names,
        "gaps": [[_ms(gap.start), _ms(gap.end)] for gap in transcript.coverage.missing],
        "wave": None if wave is None else {"step": wave.step, "levels": wave.levels},
        "server": None if server is None else {"url": server.url, "etag": server.etag, "headers": dict(server.headers)},
    }


def _notices(transcript: Transcript) -> Iterator[str]:
    """Yield the warnings. Also yield the reasons for a review, except those that a warning or a gap in the text already
    shows."""
    yield from transcript.warnings
    for reason in transcript.quality.reasons if transcript.quality else ():
        if reason.code not in ("missing", "no_text") and reason.text not in transcript.warnings:
            yield f"Please review: {reason.text}"


def _without_path(text: str, hidden: str, name: str) -> str:
    """Return the text with the path `hidden` replaced by the file name. If `hidden` is empty, the text is unchanged."""
    return text.replace(hidden, name) if hidden else text


def _body(
    transcript: Transcript,
    history: Sequence[SegmentState],
    names: list[str],
    style: Style,
    language: str,
    hidden: str,
) -> Iterator[str]:
    previous: str | None = None
    empty = True
    for item in paragraphs(history, transcript.coverage.missing):
        empty = False
        if isinstance(item, Gap):
            yield _gap(item, _without_path(item.reason, hidden, transcript.source.name))
            continue
        own = _lang(item.language, style)
        yield _paragraph(
            item,
            names.index(item.speaker or ""),
            named=item.speaker != previous,
            lang="" if own in ("und", language) else own,
        )
        previous = item.speaker
    if empty:
        yield '<p class="nothing">No speech was found.</p>\n'


def _paragraph(paragraph: Paragraph, voice: int, *, named: bool, lang: str) -> str:
    speaker = escape(paragraph.speaker or "")
    who = f'<div class="who v{voice % _COLOURS + 1}">{speaker}</div>' if named and speaker else ""
    tags, texts, data = "", "", []
    for index, state in paragraph.segments:
        segment = state.segment
        aligned = align(segment)
        text = join(aligned)
        texts += f'{_space(texts, text)}<span class="s">{escape(text)}</span>'
        data.append(_data(index, state, aligned))
        tags += "" if segment.committed else '<span class="tag">not confirmed</span>'
    if any(state.segment.timing == "estimated" for _, state in paragraph.segments):
        tags += '<span class="tag">time estimated</span>'
    size = min(_MAX_SIZE, 1 + paragraph.length // _LINE)
    clock, start = _clock(paragraph.start), round(max(0.0, paragraph.start), 2)
    marks = f' lang="{lang}" dir="auto"' if lang else ' dir="auto"'
    return (
        f'<section class="seg n{size}" data-v="{voice}"><div class="side"><a class="at" href="#t={start:g}"'
        f' aria-label="Play from {clock}">{clock}</a></div><div class="body">{who}<p{marks}>{texts}</p>{tags}</div>'
        f"{json_block(data)}</section>\n"
    )


def _space(before: str, text: str) -> str:
    """Return the space between two segments: none next to a CJK character."""
    last = before.removesuffix("</span>")[-1:]
    return "" if not before or not text or is_cjk(last) or is_cjk(text[0]) else " "


def _data(index: int, state: SegmentState, words: list[AlignedPiece]) -> list[Any]:
    """Return a segment as the script reads it: index, start, end, flags, then for its words the texts, starts, lengths
    and confidences, and the original text if it was edited. Times are milliseconds, confidences percent or -1."""
    segment = state.segment
    flags = _REVIEWED * state.reviewed | _EDITED * state.edited
    flags |= _NOT_COMMITTED * (not segment.committed) | _ESTIMATED * (segment.timing == "estimated")
    starts = [_ms(word.start) for word in words]
    first = _ms(segment.start)
    return [
        index,
        first,
        max(first, _ms(segment.end)),
        flags,
        [f"{' ' if word.spaced else ''}{word.text}" for word in words],
        [start - first for start in starts],
        [max(0, _ms(word.end) - start) for word, start in zip(words, starts, strict=True)],
        [_percent(word.confidence) for word in words],
        *([state.original.text] if state.edited else []),
    ]


def _percent(confidence: float | None) -> int:
    return -1 if confidence is None else round(100 * min(1.0, max(0.0, confidence)))


def _gap(gap: Gap, reason: str) -> str:
    return (
        f'<aside class="gap">{_clock(gap.start)} to {_clock(gap.end)} could not be transcribed: '
        f"{escape(reason)}</aside>\n"
    )


def _facts(transcript: Transcript) -> Iterator[str]:
    yield _clock(transcript.source.duration)
    if transcript.language:
        yield transcript.language
    confidences = [word.confidence for s in transcript.segments for word in s.words if word.confidence is not None]
    count = sum(len(s.words) for s in transcript.segments)
    yield _counted(len(transcript.segments), "segment")
    if count:
        yield _counted(count, "word")
    if confidences:
        yield f"mean confidence {round(100 * sum(confidences) / len(confidences))} %"
    yield transcript.created_at[:10]
    if transcript.revisions:
        yield f"corrected {transcript.revisions[-1].created_at[:10]}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@cache
def _script() -> str:
    return script(_PACKAGE, *_SCRIPTS)


def _policy(media_host: str | None, *, saves: bool) -> str:
    """Return the content security policy of the page. The page may only load the audio and run its own script; with
    `saves` it may also send corrections to its own server."""
    media = " ".join(["'self'", "file:", "blob:", *([media_host] if media_host is not None else [])])
    others = [f"media-src {media}", *(["connect-src 'self'"] if saves else [])]
    return policy(_script(), asset(_PACKAGE, "page/page.css"), *others)


def _lang(language: str | None, style: Style) -> str:
    """Return the language tag of the text, by which a browser selects Chinese fonts. Returns "und" if the language is
    unknown."""
    code = (language or "und").lower()
    chinese = code.split("-")[0] in ("zh", "yue", "cmn")
    if style.script and (chinese or language is None):
        return _SCRIPT_TAGS[style.script]
    if code.startswith("yue"):
        return "zh-HK"
    return language if language and _LANGUAGE.fullmatch(language) else "und"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
