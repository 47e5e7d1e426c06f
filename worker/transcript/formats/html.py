"""Writes a transcript as one page (.html) to read, search and play, without a network or a server.

The page contains everything except the audio. It looks for the audio relative to its own location, then at the path of
the source, then in its own folder. If the page does not find the audio, the reader selects the file. The text of a
transcript is untrusted, so it is escaped, and the content security policy only allows the page's own script.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import PurePath, PurePosixPath
from string import Template
from typing import Final
from urllib.parse import quote, urlsplit

from worker.transcript.model import Gap, Segment, Transcript
from worker.transcript.subtitles.style import PLAIN, Style
from worker.transcript.subtitles.word_alignment import AlignedPiece, align

_SEGMENTS_MARK: Final = "<!-- segments -->\n"
_COLOURS: Final = 6  # number of speaker colours in page.css
# A word with a confidence below a limit gets the CSS class next to it, which underlines the word.
_CONFIDENCE_CLASSES: Final = ((0.5, "c0"), (0.7, "c1"))
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
# A plain host name, or an IP address (version 6 in brackets). Characters with a meaning in a content security policy
# are not allowed.
_HOST: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# Language tags by the option for the Chinese script.
_SCRIPTS: Final = {"hk": "zh-HK", "tw": "zh-TW", "cn": "zh-CN"}


def pieces(
    transcript: Transcript, style: Style = PLAIN, place: str | None = None, *, absolute_paths: bool = False
) -> Iterator[str]:
    """Yield the start of the page, one element per segment and per missing part of the audio, and the end of the page.

    The elements are in order of time. `place`: absolute path or address of the page, used to compute the relative path
    to the audio. `absolute_paths`: whether the page may contain absolute paths of this machine.
    """
    head, tail = _page().split(_SEGMENTS_MARK)
    language = _lang(transcript.language, style)
    path, name = transcript.source.path, transcript.source.name
    web = _web_address(path)
    sources = _sources(path, name, place, web, absolute_paths=absolute_paths)
    hidden = "" if absolute_paths or not PurePath(path).is_absolute() else path
    values = {
        "policy": escape(_policy(web)),
        "title": escape(transcript.source.name),
        "style": _file("page.css"),
        "script": _file("page.js"),
        "facts": "".join(f"<span>{escape(fact)}</span>" for fact in _facts(transcript)),
        "notices": "".join(
            f'<p class="notice">{escape(_without_path(text, hidden, name))}</p>\n' for text in _notices(transcript)
        ),
        "lang": language,
        "duration": f"{transcript.source.duration:.3f}",
        "length": _clock(transcript.source.duration),
        "sources": "".join(f'<source src="{escape(address)}">\n' for address in sources),
    }
    yield Template(head).substitute(values)
    yield from _body(transcript, style, language, hidden)
    yield Template(tail).substitute(values)


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


def _body(transcript: Transcript, style: Style, language: str, hidden: str) -> Iterator[str]:
    names = list(dict.fromkeys(s.channel for s in transcript.segments if s.channel))
    items: list[tuple[float, Segment | Gap]] = [(s.start, s) for s in transcript.segments if s.text.strip()]
    items += [(gap.start, gap) for gap in transcript.coverage.missing]
    previous: str | None = None
    for _, item in sorted(items, key=lambda pair: pair[0]):
        if isinstance(item, Gap):
            yield _gap(item, _without_path(item.reason, hidden, transcript.source.name))
            continue
        voice = names.index(item.channel) % _COLOURS + 1 if item.channel else 1
        own = _lang(item.language, style)
        yield _segment(item, voice, named=item.channel != previous, lang="" if own in ("und", language) else own)
        previous = item.channel
    if not items:
        yield '<p class="nothing">No speech was found.</p>\n'


def _segment(segment: Segment, voice: int, *, named: bool, lang: str) -> str:
    who = f'<div class="who v{voice}">{escape(segment.channel)}</div>' if named and segment.channel else ""
    tags = "" if segment.committed else '<span class="tag">not confirmed</span>'
    tags += '<span class="tag">time estimated</span>' if segment.timing == "estimated" else ""
    words = "".join(f"{' ' if piece.spaced else ''}{_word(piece)}" for piece in align(segment))
    start, end = _ms(segment.start), _ms(segment.end)
    marks = f'data-s="{start}" data-e="{end}" data-v="{voice}"' + (f' lang="{lang}"' if lang else "")
    button = f'<button class="at" aria-label="Play from {_clock(segment.start)}">{_clock(segment.start)}</button>'
    return f'<section class="seg" {marks}>{button}<div>{who}<p>{words}</p>{tags}</div></section>\n'


def _word(piece: AlignedPiece) -> str:
    marks = f"{_ms(piece.start)} {_ms(piece.end)}"
    unsure = ""
    if piece.confidence is not None:
        marks += f" {round(100 * min(1.0, max(0.0, piece.confidence)))}"
        unsure = next((f' class="{name}"' for limit, name in _CONFIDENCE_CLASSES if piece.confidence < limit), "")
    return f'<span data-t="{marks}"{unsure}>{escape(piece.text)}</span>'


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


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _web_address(path: str) -> tuple[str, str] | None:
    """Return the origin and the URL of audio on a web server, or None for audio in other locations.

    The host must be a plain name or an IP address. With `*`, a space or a semicolon in the host, the content security
    policy of the page would allow more addresses."""
    try:
        parts = urlsplit(path)
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        return None
    host = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"
    return origin, f"{origin}{quote(parts.path, safe='/%')}"  # no query: it may contain a signature


def _sources(
    path: str, name: str, place: str | None, web: tuple[str, str] | None, *, absolute_paths: bool
) -> list[str]:
    """Return the addresses at which the page looks for the audio, in this order."""
    found = [] if place is None else _from_page(path, place)
    if web is not None:
        found.append(web[1])
    elif PurePath(path).is_absolute():
        found += [PurePosixPath(path).as_uri()] if absolute_paths else []
    elif _SCHEME.match(path) is None:
        found.append(quote(path))
    beside = f"./{quote(name, safe='')}"
    return found if beside.removeprefix("./") in found else [*found, beside]


def _from_page(path: str, place: str) -> list[str]:
    """Return a list with the path of the audio relative to the page. The list is empty if there is no useful relative
    path.

    A relative path stays valid if a folder that contains both files is moved, or served by a web server."""
    (root, audio), (page_root, page) = _rooted(path), _rooted(place)
    if root != page_root or not (audio.startswith("/") and page.startswith("/")):
        return []
    folder = posixpath.dirname(page)
    if not root and posixpath.commonpath([audio, folder]) == "/":  # the root folder cannot be moved
        return []
    return [quote(posixpath.relpath(audio, folder))]


def _rooted(place: str) -> tuple[str, str]:
    """Split a location into its root and its absolute path.

    Returns ("", path) for a path, and (scheme and bucket, "/" + key) for an address of an object store."""
    scheme, found, rest = place.partition("://")
    if not found:
        return "", place
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", f"/{key}"


def _policy(web: tuple[str, str] | None) -> str:
    """Return the content security policy of the page. The page may only load the audio and run its own script."""
    media = " ".join(["'self'", "file:", "blob:", *([web[0]] if web is not None else [])])
    return (
        f"default-src 'none'; script-src '{_digest('page.js')}'; style-src '{_digest('page.css')}'; "
        f"media-src {media}; base-uri 'none'; form-action 'none'"
    )


def _lang(language: str | None, style: Style) -> str:
    """Return the language tag of the text, by which a browser selects Chinese fonts. Returns "und" if the language is
    unknown."""
    code = (language or "und").lower()
    chinese = code.split("-")[0] in ("zh", "yue", "cmn")
    if style.script and (chinese or language is None):
        return _SCRIPTS[style.script]
    if code.startswith("yue"):
        return "zh-HK"
    return language if language and _LANGUAGE.fullmatch(language) else "und"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _page() -> str:
    return _file("page.html")


@cache
def _file(name: str) -> str:
    return (files("worker.transcript.formats") / "page" / name).read_text(encoding="utf-8")


@cache
def _digest(name: str) -> str:
    """Return the hash of a file in the notation of content security policies."""
    return f"sha256-{base64.b64encode(hashlib.sha256(_file(name).encode()).digest()).decode()}"
