"""Converts the commits of sessions to segments with times in the file. No I/O.

A commit is one final text of the service. An `Assembler` serves all sessions of one part of the file. With the
session's timeline, it converts the times of each commit to positions in the file. It puts the times in rising order and
limits them to the sent audio. It estimates the times of a commit without usable word times, and drops words that a
resumed session, or the service itself, repeats.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import inf
from typing import Any, Final

from worker.audio.voice_activity import VoiceActivityMap
from worker.realtime.commit_pairing import Commit
from worker.realtime.messages import WireWord
from worker.realtime.text_match import effort, letters
from worker.recent_items import RecentItems
from worker.session_timeline import Timeline
from worker.transcript.commit_audio import NEARBY_S, CommitAudio
from worker.transcript.duplicate_text import (
    MAX_LETTERS_PER_S,
    MAX_RECENT_COMMITS,
    DeduplicatedCommit,
    DuplicateTextFilter,
    count_dropped_copies,
)
from worker.transcript.model import Segment, Word
from worker.transcript.resume_overlap import OverlapFilter, text_of_words
from worker.transcript.resume_position import (
    MAX_TEXT_DELAY_S,
    RESUME_MARGIN_S,
    WORD_END_TOLERANCE_S,
    resume_position,
)
from worker.transcript.voiced_runs import session_voiced_runs
from worker.transcript.word_time_correction import SURROUNDING_S, WordTimeCorrector, fits
from worker.transcript.word_time_repair import Times
from worker.transcript.word_time_units import sent_word_range

OVERLAP_TOLERANCE_S: Final = 0.35
"""Maximum difference between the starts of the same word in two sessions."""
MIN_WORD_S: Final = 0.02
"""Minimum duration of a word in a segment."""
MAX_KNOWN_WORDS: Final = 40
"""Number of latest words that stay in memory, to detect commits that arrive late or repeat these words."""
MAX_LATE_COMMITS: Final = 4
"""Number of latest late commits that stay in memory, to drop their repetitions."""
MAX_ESTIMATED_IN_ROW: Final = 8
"""After so many commits in a row without word times, the service counts as one that sends none, and not as late."""
VOICE_HISTORY_S: Final = 60.0
"""Seconds of voice activity before the last committed word that stay in memory, for commits that arrive late."""


class Assembler:
    """Receives the commits of one part of the file in order of arrival, session after session."""

    def __init__(
        self, voice: VoiceActivityMap, *, paced: bool, start_s: float = 0.0, committed: Iterable[Segment] = ()
    ) -> None:
        """`start_s`: position in the file, in seconds, at which the part begins. `paced`: audio is sent in real time.
        Then a commit can only contain speech that was sent before the commit arrived, and little of that speech belongs
        to later commits. `committed`: segments of an earlier attempt at the job, in order."""
        self._voice = voice
        self._paced = paced
        self._word_times = WordTimeCorrector()
        self._duplicates = DuplicateTextFilter()
        self._overlap_filter = OverlapFilter()
        self._last_words: tuple[Word, ...] = ()
        self._forgotten = False  # whether words before `_last_words` were committed and are no longer stored
        self._late_commits: RecentItems[tuple[str, tuple[WireWord, ...]]] = RecentItems(MAX_LATE_COMMITS)
        # Texts of the latest commits, reduced to letters and digits.
        self._recent_texts: RecentItems[str] = RecentItems(MAX_RECENT_COMMITS)
        self._untimed = False  # whether any segment so far has no word times
        self._estimated_in_row = 0  # commits without word times since the last one with word times
        self._resumed = False  # whether the session may still repeat words of an earlier session
        self._repeated_until_s = 0.0  # end of the last word with times in a resumed session, also if it is repeated
        self._repeated = False  # whether the session has repeated text and has sent no new text
        self._repetitions = 0  # number of latest sessions of this kind
        self._start_s = start_s
        self._committed_until_s = start_s  # the text of all audio before this position (s) is probably committed
        self._resume_after_s = start_s  # the same, but certainly: text without word times may end before its estimate
        self._completed_s = start_s  # end of the audio of the sessions that ended in order; no word is cut there
        self._floor_s = start_s  # earliest start of the next measured word; estimated ends do not move it
        self.until_s = start_s
        """Position in the file, in seconds, at which the last committed word ends."""
        self.dropped = 0
        """Number of repeated texts that were dropped because no sound was left in which they could have been spoken."""
        for segment in committed:
            self._recent_texts.append(letters(segment.text))
            self._remember(segment, segment.end - MAX_TEXT_DELAY_S)

    def resume_s(self, sent_s: float) -> float:
        """Return the position in the file, in seconds, at which the next session has to start. `sent_s`: position up to
        which audio was sent.

        See `resume_position`."""
        self._repetitions = self._repetitions + 1 if self._repeated else 0
        if self._sends_no_times and (self._repetitions or not self._overlap_filter.stores_end):
            # Sessions that all end before the first new text must not start at the same position without end.
            delay_s = MAX_TEXT_DELAY_S / 2**self._repetitions
            self._resume_after_s = max(self._resume_after_s, self.until_s - delay_s)
            self._overlap_filter.remember("", end_only=True)
        return self._resume_s(sent_s)

    def session_completed(self, from_s: float, sent_s: float) -> None:
        """Note that a session over the audio from `from_s` to `sent_s`, two positions in the file in seconds, has ended
        in order, and that another session follows."""
        # The service has committed all text of this audio, so the audio of estimated commits is not sent again. An
        # earlier session may have sent more audio: the estimated end of its last commit can be after `sent_s`.
        self._count_as_committed(min(self.until_s, sent_s))
        self._completed_s = max(self._completed_s, sent_s)
        if self._resume_s(sent_s) <= from_s + RESUME_MARGIN_S:
            # The service has no text for the sound at the start: the next session would be the same again, without end.
            self._count_as_committed(sent_s)

    def _count_as_committed(self, until_s: float) -> None:
        """Count the audio up to `until_s`, an end that may be estimated, as committed."""
        self._committed_until_s = max(self._committed_until_s, until_s)
        self._resume_after_s = max(self._resume_after_s, until_s)
        self._overlap_filter.forget()

    @property
    def _sends_no_times(self) -> bool:
        """Whether the service sends no word times, and audio is sent in real time."""
        return self._paced and (not self._last_words or self._estimated_in_row >= MAX_ESTIMATED_IN_ROW)

    def _resume_s(self, sent_s: float) -> float:
        onset_s = self._voice.onset_s(self._resume_after_s + WORD_END_TOLERANCE_S)
        # A new attempt knows no sound, and only the end of the stored segments.
        if onset_s is None and max(sent_s, self._resume_after_s) <= self._completed_s:
            return self._completed_s
        return resume_position(onset_s, self._resume_after_s, sent_s, self._start_s)

    def begin(self, from_s: float) -> None:
        """Prepare for the commits of a new session. `from_s`: position in the file, in seconds, at which the session
        starts.

        If `from_s` is before `until_s`, the session repeats the audio up to `until_s`. The words in that audio are then
        repetitions."""
        self._resumed = from_s < self.until_s
        self._word_times, self._duplicates = WordTimeCorrector(), DuplicateTextFilter()
        self._late_commits.clear()
        self._repeated, self._repeated_until_s = False, 0.0
        self._overlap_filter.begin(again=self._resumed)

    def place(self, commit: Commit, timeline: Timeline) -> Segment | None:
        """Convert a commit to a segment, whose times are positions in the file, in seconds (rounded to milliseconds).

        Returns None if the commit contains no new text."""
        # Late commits are not known to the filter of duplicate texts, so their repetitions are dropped here.
        if (commit.text, commit.words) in self._late_commits or self._is_replayed(commit, timeline):
            self.dropped += count_dropped_copies(commit.text, None)
            return None
        self._recent_texts.append(letters(commit.text))
        if (segment := self._placed_late(commit, timeline)) is not None:
            self._late_commits.append((commit.text, commit.words))
            self._last_words = tuple(sorted((*self._last_words, *segment.words), key=lambda w: w.start))
            return segment
        audio = self._commit_audio(commit, timeline)
        deduplicated = self._duplicates.apply(commit.text, commit.words, self._word_times, audio)
        self.dropped += count_dropped_copies(commit.text, deduplicated)
        if deduplicated is None:
            return None
        if deduplicated.times:
            segment = self._timed(deduplicated, commit, timeline)
        else:
            segment = self._estimated(deduplicated.text, commit, timeline.to_file_s(audio.sent_s))
        if segment is not None:
            # In session time, because skipped silence takes no time.
            delayed_s = timeline.to_session_s(segment.end) - MAX_TEXT_DELAY_S
            self._remember(segment, timeline.to_file_s(delayed_s))
        self._voice.forget_before(self._committed_until_s - VOICE_HISTORY_S)
        return segment

    def _is_replayed(self, commit: Commit, timeline: Timeline) -> bool:
        """Whether a commit is sent again by a new session, before the audio of this session can contain its text."""
        sent_s = min(commit.sent, timeline.sent) / timeline.rate
        plain = letters(commit.text)
        if sent_s > NEARBY_S or not plain or plain not in "".join(self._recent_texts):
            return False
        # If no sound was measured at all, the measurement is not reliable.
        measured = self._voice.end_s(inf) is not None
        sound_s = session_voiced_runs(self._voice, timeline, 0.0, sent_s).voiced_s(0.0, sent_s) if measured else sent_s
        return sound_s < effort(commit.text) / MAX_LETTERS_PER_S

    def _placed_late(self, commit: Commit, timeline: Timeline) -> Segment | None:
        """Convert a late commit: one that arrives after a commit whose speech is later in the file. Returns None if the
        commit is not late.

        The times of a late commit are before the last committed word, within sound that has no words yet. In two cases
        it is unknown whether sound has words: before the oldest word in memory, and everywhere after a segment without
        word times. In both cases the commit is treated as not late."""
        times = [(w.start, w.end) for w in commit.words if w.start is not None and w.end is not None]
        known = self._last_words
        if self._resumed or self._untimed or not times or len(times) < len(commit.words) or not known:
            return None
        if any(start > end for start, end in times) or any(a[1] > b[0] for a, b in pairwise(times)):
            return None
        first, last = _ms(timeline.to_file_s(times[0][0])), _ms(timeline.to_file_s(times[-1][1]))
        if last > self._committed_until_s or first < self._start_s or (self._forgotten and first < known[0].end):
            return None
        if any(word.start < last and first < word.end for word in known):
            return None
        sound = session_voiced_runs(
            self._voice, timeline, max(0.0, times[0][0] - SURROUNDING_S), times[-1][1] + SURROUNDING_S
        )
        if not fits(times, sound):
            return None
        words = [
            Word(text=w.text, start=_ms(a), end=_ms(b), confidence=w.confidence)
            for w, (a, b) in zip(commit.words, self._to_file(times, timeline), strict=True)
        ]
        return _segment(commit.text, first, last, commit.language, words=tuple(words))

    @staticmethod
    def _to_file(times: Times, timeline: Timeline) -> Times:
        return [(timeline.to_file_s(start), timeline.to_file_s(end)) for start, end in times]

    def _commit_audio(self, commit: Commit, timeline: Timeline) -> CommitAudio:
        """Return the audio in which a commit can have been spoken. It begins at the end of the committed text. It ends
        at the start of the next commit if that is known, otherwise at the end of the sent audio."""
        after_s = timeline.to_session_s(self._repeated_until_s if self._resumed else self._committed_until_s)
        sent_s = min(commit.sent, timeline.sent) / timeline.rate
        if commit.before_s is not None and after_s < commit.before_s < sent_s:
            sent_s = commit.before_s
        words_s = sent_word_range(commit.words, sent_s)
        # A resumed session sends some audio of committed text again. So the commit may cover audio from the end of the
        # words that this session has sent, new or not. A commit that arrives late may cover audio before them.
        if self._resumed and words_s[0] < after_s - OVERLAP_TOLERANCE_S:
            after_s = 0.0
        return CommitAudio(
            lambda until_s: session_voiced_runs(self._voice, timeline, after_s, until_s),
            after_s,
            sent_s,
            words_s,
            bounded=self._paced,
        )

    def uncommitted(self, text: str, timeline: Timeline) -> Segment:
        """Return a segment for the last partial (not final) text, if the service never committed it.

        The segment extends from the first sound after the committed text to the end of the sent audio."""
        end_s = (timeline.file_end or 0) / timeline.rate
        start_s = min(self._voice.onset_s(self.until_s) or self.until_s, end_s)
        return Segment(text=text, start=_ms(start_s), end=_ms(end_s), timing="estimated", committed=False)

    def _remember(self, segment: Segment, delayed_s: float) -> None:
        """Update the committed positions and words. Late segments are not passed here. `delayed_s`: position
        MAX_TEXT_DELAY_S before the end of the segment; a text without word times does not end before it."""
        self.until_s = max(self.until_s, segment.end)
        self._repeated = False
        # An estimated end can be far after the speech: at full speed, or if the service is late. If other commits had
        # word times, the service was interrupted before it could send those of this commit, so it is late. The next
        # session must then start before this text.
        measured = segment.timing == "measured"
        self._estimated_in_row = 0 if measured else self._estimated_in_row + 1
        if measured:
            self._count_as_committed(segment.end)
            self._floor_s = max(self._floor_s, segment.end)
        elif self._sends_no_times:
            # Speech that was sent before the text arrived may belong to the next commit.
            self._committed_until_s = max(self._committed_until_s, segment.end)
            self._resume_after_s = max(self._resume_after_s, min(delayed_s, segment.end))
            self._overlap_filter.remember(segment.text, end_only=True)
        else:
            self._overlap_filter.remember(segment.text)
        if segment.words:
            self._forgotten = self._forgotten or len(self._last_words) + len(segment.words) > MAX_KNOWN_WORDS
            self._last_words = (*self._last_words, *segment.words)[-MAX_KNOWN_WORDS:]
        else:
            self._untimed = True

    def _timed(self, deduplicated: DeduplicatedCommit, commit: Commit, timeline: Timeline) -> Segment | None:
        """Return a segment with word times, or None if an earlier session committed all of its words."""
        latest_s = (timeline.file_end or 0) / timeline.rate
        # A resumed session sends audio of committed text again, so times before the end of that text can be correct.
        # In other sessions, such times are inexact and are moved to the end of the text.
        floor_s = 0.0 if self._resumed else self._floor_s
        words = []
        for wire, (start_s, end_s) in zip(deduplicated.words, deduplicated.times or (), strict=True):
            start = min(max(timeline.to_file_s(start_s), floor_s), latest_s)
            end = min(max(timeline.to_file_s(end_s), start + MIN_WORD_S), max(latest_s, start))
            words.append(Word(text=wire.text, start=_ms(start), end=_ms(end), confidence=wire.confidence))
            floor_s = start
        self._repeated_until_s = max([self._repeated_until_s, *(w.end for w in words)])
        later = bool(words) and words[-1].end > self.until_s + OVERLAP_TOLERANCE_S
        fresh = self._overlap_filter.new_words(self._fresh(words), later=later)
        if not fresh:
            return None
        text = deduplicated.text if len(fresh) == len(words) else text_of_words(deduplicated.text, words, fresh)
        ends = max(w.end for w in fresh)
        return _segment(text, fresh[0].start, ends, commit.language, words=tuple(fresh))

    def _estimated(self, text: str, commit: Commit, sent_s: float) -> Segment | None:
        """Return a segment without word times, or None if an earlier session committed its text.

        The segment begins with the first sound after the previous commit. `sent_s`: position in the file, in seconds,
        after which the text cannot have been spoken."""
        end_s = min(self._voice.end_s(sent_s) or sent_s, sent_s)
        text = self._overlap_filter.new_text(text, later=end_s > self.until_s + OVERLAP_TOLERANCE_S)
        if not text:
            self._estimated_in_row += 1
            self._repeated = True
            return None
        end_s = max(end_s, self.until_s)
        start_s = min(self._voice.onset_s(self.until_s + WORD_END_TOLERANCE_S) or self.until_s, end_s)
        self._resumed = False
        return _segment(text, _ms(start_s), _ms(end_s), commit.language, timing="estimated")

    def _fresh(self, words: list[Word]) -> list[Word]:
        """Return the words that no earlier session committed."""
        if not self._resumed:
            return words
        fresh = [w for w in words if not self._is_committed(w)]
        if fresh and fresh[0].end > self.until_s + OVERLAP_TOLERANCE_S:
            self._resumed = False  # the overlap is over
        return fresh

    def _is_committed(self, word: Word) -> bool:
        """Whether an earlier session committed the word. Compares its time with the committed audio, and its text with
        committed words near the same time."""
        if (word.start + word.end) / 2 < self._resume_after_s:
            return True
        # The times of two sessions differ, so the same word may be placed after the committed text this time.
        return any(
            known.text == word.text and abs(known.start - word.start) <= OVERLAP_TOLERANCE_S
            for known in reversed(self._last_words)
        )


def _segment(text: str, start_s: float, end_s: float, language: str | None, **more: Any) -> Segment:
    # A pydantic model stores the names of its given fields. A set of four takes 216 bytes, and one of five 728.
    known = {} if language is None else {"language": language}
    return Segment(text=text, start=start_s, end=end_s, **known, **more)


def _ms(seconds: float) -> float:
    return round(seconds, 3)
