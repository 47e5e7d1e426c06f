"""Finds audio events in recognized text: applause, laughter and music that a service writes beside the speech. No I/O.

Services write audio events as `(掌聲)`, `（笑聲）`, `[Applause]`, `*music*` or `♪`. Spoken text in parentheses looks
similar. A text in parentheses is an event if it names a known event. It is also an event if the service gave word times
for the rest of the text, but none for the text in parentheses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from worker.transcript.audio_event_names import is_certain_event, is_possible_event
from worker.transcript.model import Correction, Segment, Word

MAX_CHARACTERS: Final = 40
"""A longer parenthesis is never an event."""
MAX_WORDS: Final = 6
"""Like MAX_CHARACTERS, in words of a language with spaces."""
MIN_SPELLED: Final = 0.8
"""The words of a segment must have at least this share of the letters outside parentheses. If they have less, the
service left out other words as well, and a parenthesis without words is no evidence."""
_PAIRS: Final = dict(zip("([{<（［｛＜【〔*＊♪♫♬♩", ")]}>）］｝＞】〕*＊♪♫♬♩", strict=True))
_OPENING: Final = "".join(map(re.escape, _PAIRS))
_CLOSING: Final = "".join(map(re.escape, _PAIRS.values()))
_NOTES: Final = "♪♫♬♩"
_OTHER_USES: Final = frozenset("{<｛＜" + _NOTES)
"""Opening marks that are markup, or that surround sung text. Only a known event may have them."""
_PARENTHESIS: Final = re.compile(
    rf"(?P<open>[{_OPENING}](?:\s*[{_OPENING}])*)(?P<content>[^{_OPENING}{_CLOSING}\n]{{1,{MAX_CHARACTERS}}})"
    rf"(?P<close>[{_CLOSING}](?:\s*[{_CLOSING}])*)"
)
_ONLY_NOTES: Final = re.compile(
    rf"[(\[（［【]\s*[{_NOTES}](?:\s*[{_NOTES}])*\s*[)\]）］】]|[{_NOTES}](?:\s*[{_NOTES}])*"
)
_PUNCTUATION: Final = re.compile("[,.;:!?，。！？；：、）)\\]]")


@dataclass(frozen=True, slots=True)
class AudioEvent:
    """An audio event in a text, from `begin` to `end`."""

    begin: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class _Change:
    """A part of a text, and the text that replaces it."""

    begin: int
    end: int
    new: str


def audio_events(text: str, words: Sequence[Word] = ()) -> list[AudioEvent]:
    """Return the audio events of a text in order. `words`: the words of the text, if the service gave any."""
    candidates = list(_candidates(text))
    if not candidates:
        return []
    joined = " ".join(word.text for word in words)
    spoken = _letters(joined)
    outside = _letters(_replaced(text, [_Change(event.begin, event.end, "") for event in candidates]))
    known_words = bool(spoken) and len(spoken) >= MIN_SPELLED * len(outside)
    in_brackets = {event.name for event in _candidates(joined)}

    def is_event(event: AudioEvent) -> bool:
        if event.name in _NOTES or is_certain_event(event.name):
            return True
        letters = _letters(event.name)
        unspoken = known_words and spoken.count(letters) < _letters(text).count(letters)
        if is_possible_event(event.name):
            return unspoken or not words or event.name in in_brackets
        return unspoken and text[event.begin] not in _OTHER_USES

    return [event for event in candidates if is_event(event)]


def with_bracketed_events(segment: Segment) -> Segment:
    """Return the segment with its audio events in square brackets, such as `[掌聲]`. Words that belong to events are
    removed."""
    events = audio_events(segment.text, segment.words)
    return _changed(segment, events, [_Change(event.begin, event.end, f"[{event.name}]") for event in events])


def without_events(segment: Segment) -> Segment:
    """Return the segment without audio events. If the segment contained only events, the new text is empty."""
    events = audio_events(segment.text, segment.words)
    found = _changed(segment, events, _removals(segment.text, events))
    return found if not events or any(map(str.isalnum, found.text)) else found.model_copy(update={"text": ""})


def speech_of(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments without audio events. Segments that contained only events are removed."""
    plain = ((segment, without_events(segment)) for segment in segments)
    return [after for before, after in plain if after.text or not before.text]


def _candidates(text: str) -> Iterator[AudioEvent]:
    at = 0
    while True:
        notes, match = _ONLY_NOTES.search(text, at), _PARENTHESIS.search(text, at)
        if match and (not notes or match.start() <= notes.start()):
            name = _name(match)
            if name:
                yield AudioEvent(match.start(), match.end(), name)
                at = match.end()
                continue
            if not notes or match.start() < notes.start():
                at = match.start() + 1
                continue
        if not notes:
            return
        yield AudioEvent(notes.start(), notes.end(), _NOTES[0])
        at = notes.end()


def _name(match: re.Match[str]) -> str:
    """Return the name of a possible event. Returns "" for a text that cannot name an event, because it contains digits,
    is too long or has no letter."""
    opening, closing = "".join(match["open"].split()), "".join(match["close"].split())
    if "".join(_PAIRS[mark] for mark in reversed(opening)) != closing:
        return ""
    name = " ".join(match["content"].replace("_", " ").split()).strip(" .。!！,，:：-–—")
    if any(map(str.isdigit, name)) or not any(map(str.isalpha, name)) or len(name.split()) > MAX_WORDS:
        return ""
    return name


def _letters(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def _removals(text: str, events: Sequence[AudioEvent]) -> list[_Change]:
    """Return the changes that remove the events and the spaces around them, except for one space between words."""
    found: list[_Change] = []
    for event in events:
        begin, end = len(text[: event.begin].rstrip()), len(text) - len(text[event.end :].lstrip())
        if found and begin <= found[-1].end:
            begin = found.pop().begin
        inside = begin > 0 and end < len(text) and not _PUNCTUATION.match(text[end])
        spaced = text[begin : begin + 1].isspace() or text[end - 1 : end].isspace()
        found.append(_Change(begin, end, " " if inside and spaced else ""))
    return found


def _replaced(text: str, changes: Sequence[_Change]) -> str:
    pieces, done = [], 0
    for change in changes:
        pieces += [text[done : change.begin], change.new]
        done = change.end
    return "".join([*pieces, text[done:]])


def _changed(segment: Segment, events: Sequence[AudioEvent], changes: Sequence[_Change]) -> Segment:
    """Return the segment with a changed text, without the words of the events."""
    if not events:
        return segment
    update = {
        "text": _replaced(segment.text, changes),
        "words": tuple(_other_words(segment, events)),
        "corrections": tuple(_moved(segment.corrections, changes)),
    }
    return segment.model_copy(update=update)


def _other_words(segment: Segment, events: Sequence[AudioEvent]) -> Iterator[Word]:
    """Yield the words of a segment that are outside the events."""
    at = 0
    for word in segment.words:
        begin = segment.text.find(word.text, at)
        if begin >= 0:
            at = begin + len(word.text)
            if any(event.begin <= begin and at <= event.end for event in events):
                continue
        yield word


def _moved(corrections: Iterable[Correction], changes: Sequence[_Change]) -> Iterator[Correction]:
    """Yield the corrections outside the changed parts, with their positions in the changed text."""
    for correction in corrections:
        if any(change.begin <= correction.position < change.end for change in changes):
            continue
        shift = sum(len(c.new) - (c.end - c.begin) for c in changes if c.end <= correction.position)
        yield correction.model_copy(update={"position": correction.position + shift})


__all__ = ["AudioEvent", "audio_events", "speech_of", "with_bracketed_events", "without_events"]
