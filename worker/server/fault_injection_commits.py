"""Builds committed messages with faults: word times in other formats, and repeated text. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from worker.realtime import messages

Message = dict[str, Any]
Words = list[dict[str, Any]]

_FAR_S: Final = 1000.0
_MIXED: Final = ("", "ms", "relative", "relative-ms")
_PHANTOM_WORDS: Final = 3


def shifted(words: Words, late_s: float, form: str, number: int) -> Words:
    """Return the words with times that are `late_s` seconds too late, in the format `form`: one of
    `fault_options.WORD_TIME_FORMS`, or "" for the normal format. `number`: the number of the commit of these words."""
    if form == "mixed":
        form = _MIXED[number % len(_MIXED)]
    begin = words[0]["start"]
    return [_with_times(word, *_in_form(word["start"] + late_s, word["end"] + late_s, form, begin)) for word in words]


def _with_times(word: dict[str, Any], start: object, end: object) -> dict[str, Any]:
    return {**word, "start": start, "end": end}


def _in_form(start: float, end: float, form: str, begin: float) -> tuple[object, object]:
    if form.startswith("relative"):
        start, end = start - begin, end - begin
    if form.endswith("ms"):
        return round(start * 1000), round(end * 1000)
    if form == "text":
        return f"{start:.3f}", f"{end:.3f}"
    if form == "reversed":
        return end, start
    if form == "zero":
        return 0, 0
    far_s = {"negative": -_FAR_S, "beyond": _FAR_S}.get(form, 0.0)
    return start + far_s, end + far_s


def repeated_text(message: Message, number: int) -> Message:
    """Return the commit with its text repeated `number` times. All copies have the same word times."""
    repeated = {**message, "text": " ".join([message.get("text", "")] * number)}
    # Reported of the real service: copies of a text inside one commit, all with the times of the first one.
    return {**repeated, "words": message["words"] * number} if message.get("words") else repeated


def phantoms(forms: Sequence[Message], number: int) -> list[Message]:
    """Return `number` additional commits that repeat the last words of a commit, with times in the silence after it.

    `forms`: the messages of that commit: the plain message and the message with word times. Each additional commit
    repeats both messages.
    """
    return [_phantom(message, place) for place in range(1, number + 1) for message in forms if message.get("text")]


def _phantom(message: Message, place: int) -> Message:
    text = " ".join(message["text"].split()[-_PHANTOM_WORDS:])
    if message["message_type"] != messages.TYPE_COMMITTED_TIMED or not message.get("words"):
        return {**message, "text": text}
    words = [w for w in message["words"] if w.get("type", "word") == "word"][-_PHANTOM_WORDS:]
    length = words[-1]["end"] - words[0]["start"] if isinstance(words[0].get("start"), int | float) else None
    if length is None:
        return {**message, "text": text, "words": words}
    late_s = length * place
    return {**message, "text": text, "words": [_with_times(w, w["start"] + late_s, w["end"] + late_s) for w in words]}
