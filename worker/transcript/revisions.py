"""Applies the corrections of people (revisions) to a transcript, and checks new ones. No I/O.

A transcript keeps its original segments. Each revision lists the segments that a person changed, with their complete
new text, words and times. So a revision can be applied without the algorithm of the page that made it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.errors import BadRevision, RevisionConflict
from worker.transcript.model import Revision, Segment, SegmentChange, Transcript, Word
from worker.validation_errors import describe_errors, dotted

KIND: Final = "stt-batch revisions"
FILE_ENDING: Final = ".edits.json"
"""End of the name of a file with corrections, which a transcript page offers for download."""
MAX_REVISIONS: Final = 1000
MAX_TEXT: Final = 20_000
"""Characters of the text of one segment."""
MAX_NAME: Final = 200
"""Characters of the name of a speaker or an editor."""
MAX_SPEAKERS: Final = 200
_ID: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_TIME_TOLERANCE_S: Final = 1.0


class RevisionFile(BaseModel):
    """The file with corrections that a transcript page offers for download."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["stt-batch revisions"]
    schema_version: Literal[1] = 1
    job_id: str
    source_name: str = ""
    source_sha256: str
    transcript_created_at: str
    """`created_at` of the transcript. A transcript that was made again has other segments."""
    base: str | None
    """Id of the last revision that the editor saw; None if there was none."""
    revisions: tuple[Revision, ...]

    def belongs_to(self, transcript: Transcript) -> bool:
        """Whether the segments in the corrections are those of `transcript`."""
        return (self.job_id, self.source_sha256, self.transcript_created_at) == (
            transcript.job_id,
            transcript.source.sha256,
            transcript.created_at,
        )


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment with all corrections, and its history."""

    segment: Segment
    """The segment with its current text, words and speaker. Its text is empty if it was removed."""
    original: Segment
    reviewed: bool = False
    """Whether a person has checked the segment."""
    edited: bool = False
    """Whether the text differs from the original."""


def read_revision_file(text: str | bytes, shown: str) -> RevisionFile:
    """Parse a file with corrections. Raises BadRevision; `shown` names the file."""
    try:
        return RevisionFile.model_validate_json(text)
    except ValidationError as exc:
        reasons = describe_errors(exc, lambda location: dotted(location, "file"))
        raise BadRevision(f"{shown}: is not a file of corrections from a transcript page: {reasons[:500]}") from None


def last_revision(transcript: Transcript) -> str | None:
    """Return the id of the newest revision, or None for an original transcript."""
    return transcript.revisions[-1].id if transcript.revisions else None


def version_tag(transcript: Transcript) -> str:
    """Return the version of a transcript as an HTTP entity tag. It changes with each revision, and if the job is
    transcribed again."""
    parts = (transcript.job_id, transcript.created_at, *(revision.id for revision in transcript.revisions))
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
    return f'"{digest[:32]}"'


def states(transcript: Transcript) -> list[SegmentState]:
    """Return the current state of all segments, by index. Changes of segments that do not exist are ignored."""
    found = [SegmentState(segment, segment) for segment in transcript.segments]
    for revision in transcript.revisions:
        if revision.speakers:
            found = [_renamed(state, revision.speakers) for state in found]
        for change in revision.changes:
            if 0 <= change.segment < len(found):
                found[change.segment] = _changed(found[change.segment], change)
    return found


def revised(transcript: Transcript) -> Transcript:
    """Return the transcript with its corrections in `segments` and `text`. Removed segments have an empty text, so that
    the indices of the other segments do not change."""
    if not transcript.revisions:
        return transcript
    segments = tuple(state.segment for state in states(transcript))
    text = "\n".join(segment.text for segment in segments if segment.text)
    return transcript.model_copy(update={"segments": segments, "text": text})


def with_revisions(
    transcript: Transcript, new: Sequence[Revision], *, base: str | None, force: bool = False
) -> Transcript:
    """Return the transcript with further revisions.

    Revisions that it already contains are left out, so that a repeated call changes nothing. `base`: id of the last
    revision that the editor saw. Raises RevisionConflict if the transcript has other revisions after it, unless `force`
    is set: then the new changes follow them. Raises BadRevision if a revision is invalid."""
    known = {revision.id for revision in transcript.revisions}
    fresh = list({revision.id: revision for revision in new if revision.id not in known}.values())
    if not fresh:
        return transcript
    seen = next((revision.id for revision in reversed(new) if revision.id in known), base)
    if seen != last_revision(transcript) and not force:
        raise RevisionConflict(_conflict(transcript, seen))
    if len(transcript.revisions) + len(fresh) > MAX_REVISIONS:
        raise BadRevision(f"a transcript has at most {MAX_REVISIONS} revisions")
    for revision in fresh:
        if problem := next(problems(transcript, revision), None):
            raise BadRevision(f"revision {revision.id[:64]!r}: {problem}")
    return transcript.model_copy(update={"revisions": (*transcript.revisions, *fresh)})


def problems(transcript: Transcript, revision: Revision) -> Iterator[str]:
    """Yield the reasons why a revision cannot be applied to a transcript."""
    if not _ID.fullmatch(revision.id):
        yield "the id must have 8 to 64 letters, digits or hyphens"
    if len(revision.speakers) > MAX_SPEAKERS:
        yield f"more than {MAX_SPEAKERS} renamed speakers"
    names = [revision.editor or "", *revision.speakers, *revision.speakers.values()]
    names += [change.speaker or "" for change in revision.changes]
    if any(len(name) > MAX_NAME for name in names):
        yield f"a name has more than {MAX_NAME} characters"
    numbers = [change.segment for change in revision.changes]
    if len(set(numbers)) < len(numbers):
        yield "a segment is changed twice"
    for change in revision.changes:
        if not 0 <= change.segment < len(transcript.segments):
            yield f"segment {change.segment} does not exist; the transcript has {len(transcript.segments)} segments"
        else:
            yield from _problems_of(transcript.segments[change.segment], change)


def _problems_of(segment: Segment, change: SegmentChange) -> Iterator[str]:
    where = f"segment {change.segment}"
    if change.text is None:
        if change.words:
            yield f"{where}: has words without a text"
        return
    if len(change.text) > MAX_TEXT:
        yield f"{where}: the text has more than {MAX_TEXT} characters"
    if _letters("".join(word.text for word in change.words)) != _letters(change.text) and change.words:
        yield f"{where}: the words do not spell the text"
    times = [*(time for word in segment.words for time in (word.start, word.end)), segment.start, segment.end]
    first, last = min(times) - _TIME_TOLERANCE_S, max(times) + _TIME_TOLERANCE_S
    for word in change.words:
        if not (first <= word.start <= word.end <= last):
            yield f"{where}: the times of a word are not within the segment ({word.start:g} to {word.end:g} s)"
            return
        if word.confidence is not None and not 0 <= word.confidence <= 1:
            yield f"{where}: the confidence of a word is not between 0 and 1"
            return


def _letters(text: str) -> str:
    return "".join(text.split())


def _renamed(state: SegmentState, speakers: dict[str, str]) -> SegmentState:
    name = state.segment.channel or ""
    if name not in speakers:
        return state
    return replace(state, segment=state.segment.model_copy(update={"channel": speakers[name] or None}))


def _changed(state: SegmentState, change: SegmentChange) -> SegmentState:
    update: dict[str, object] = {}
    if change.text is not None:
        # The positions of corrections by the glossary refer to the text that is replaced.
        update |= {"text": change.text, "words": tuple(_words(change)), "corrections": (), "committed": True}
    if change.speaker is not None:
        update["channel"] = change.speaker or None
    return replace(
        state,
        segment=state.segment.model_copy(update=update),
        reviewed=state.reviewed if change.reviewed is None else change.reviewed,
        edited=state.edited if change.text is None else change.text != state.original.text,
    )


def _words(change: SegmentChange) -> Iterator[Word]:
    for word in change.words:
        yield replace(word, start=max(0.0, word.start), end=max(0.0, word.end))


def _conflict(transcript: Transcript, seen: str | None) -> str:
    last = transcript.revisions[-1] if transcript.revisions else None
    if last is None:
        return f"the corrections follow revision {seen!r}, which this transcript does not have"
    by = f" by {last.editor}" if last.editor else ""
    return (
        f"another person has corrected the transcript in the meantime (revision {last.id!r}{by}, {last.created_at});"
        " open its newest page and repeat the corrections"
    )


__all__ = ["BadRevision", "RevisionConflict", "RevisionFile", "revised", "states", "with_revisions"]
