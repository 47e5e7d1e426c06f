"""Removes text that a commit repeats although it was said once (pure).

Services have been seen to triple the text inside one commit, and to commit the last words again without any voice (a
phantom). People repeat themselves as well. The audio decides: a copy is dropped only if no sound is left for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.realtime.commit_pairing import same_times
from worker.realtime.messages import WireWord
from worker.realtime.text_match import copies, effort, first_copies, letters, period, same_once, up_to_letter
from worker.transcript.voiced_runs import CommitAudio, VoicedRuns
from worker.transcript.word_time_correction import Times, WordTimeCorrector, convert, repaired_times, with_filled_times

MAX_LETTERS_PER_S: Final = 30.0
"""Latin letters that the fastest speakers say in a second of voice."""
USUAL_MAX_LETTERS_PER_S: Final = 20.0
"""Latin letters a second in fast speech; decides how many copies of a text stay if it is too long for its sound."""
TYPICAL_LETTERS_PER_S: Final = 12.0
"""Latin letters in a second of voice in ordinary speech."""
MIN_SKIPPED_S: Final = 0.2
"""Sound between two commits that is too long to come from inexact word times."""
UNPLACED_TOLERANCE: Final = 1.15
"""Repeated text without times is accepted up to this factor above MAX_LETTERS_PER_S."""
MIN_OWN_SOUND_SHARE: Final = 0.4
"""Minimum share of the length of a copy that has sound of its own."""
MIN_SOUND_S: Final = 0.05
"""A shorter sound is not a word."""
MAX_LATE_SOUND_S: Final = 0.3
"""Sound up to this long after the last word of a commit may belong to the commit, because word times are inexact."""
MAX_FIRST_LATE_SOUND_S: Final = 0.45
"""Sound that begins later than this after the first word of a commit does not belong to the commit."""
MIN_PAUSE_S: Final = 0.6
"""A pause this long ends the sound of a commit with unusable times."""
MAX_RECENT_COMMITS: Final = 20
"""Number of commits whose words a phantom may repeat: above real time, others arrive before it."""
MIN_RATED_COMMITS: Final = 3
MAX_RATE_FACTOR: Final = 1.6
"""After MIN_RATED_COMMITS commits, a speaker is at most this much faster than in the fastest of them."""


Words = tuple[WireWord, ...]


@dataclass(frozen=True, slots=True)
class DeduplicatedCommit:
    """The part of a commit that was said."""

    text: str
    words: Words
    times: Times | None
    """Session seconds of `words`, or None if the times are unusable."""


class DuplicateTextFilter:
    """Removes repeated text from the commits of one session."""

    def __init__(self) -> None:
        # Letters and session second of the start of each commit.
        self._recent: deque[tuple[str, float]] = deque(maxlen=MAX_RECENT_COMMITS)
        self._had_sound = False
        self._rates: deque[float] = deque(maxlen=20)
        self._skipped_s = 0.0  # seconds of sound before a timed commit that belong to no commit
        # Commits without times since the last timed one: session second of its end, and their total effort.
        self._untimed = (-1.0, 0)

    def apply(
        self, text: str, words: Words, corrector: WordTimeCorrector, audio: CommitAudio
    ) -> DeduplicatedCommit | None:
        """Return the part of a commit that was said, or None if the commit is a phantom.

        Call it once per commit, in order of arrival."""
        text, words = _without_echoes(text, words, audio)
        begins_s = self._repeated_s(text)
        number = copies(text)
        groups = _groups(words, text, number) if number > 1 else [words]
        if groups is None or not all(groups):
            groups = [words]
        times = self._times(words, groups, corrector, audio, begins_s)
        said = self._once(DeduplicatedCommit(text, words, None), number, groups, times, audio)
        # If no sound was measured under the previous commit either, missing sound does not prove a phantom.
        if begins_s is not None and self._had_sound and not self._is_said(said.text, times, audio):
            return None
        self._remember(said, audio, number)
        return said

    def _times(
        self,
        words: Words,
        groups: list[Words],
        corrector: WordTimeCorrector,
        audio: CommitAudio,
        begins_s: float | None,
    ) -> list[Times | None]:
        """Session seconds of the words of each group, or None for a group with unusable times."""
        read = [repaired_times(group, audio) for group in groups] if words else [None]
        # One conversion serves all copies: the distance between copies is part of the rhythm.
        first = repaired_times(_rising_part(words), audio) if len(groups) > 1 else read[0]
        conversion = corrector.conversion(first[0], audio, repeated_s=begins_s) if first else None
        return [
            with_filled_times(convert(one[0], conversion), one[1], audio) if one and conversion else None
            for one in read
        ]

    def _once(
        self,
        whole: DeduplicatedCommit,
        number: int,
        groups: list[Words],
        times: list[Times | None],
        audio: CommitAudio,
    ) -> DeduplicatedCommit:
        """The commit with only the copies that were said."""
        if len(groups) == number > 1 and all(times):
            return self._timed_copies(whole, groups, [t for t in times if t], audio)
        known = times[0] if len(groups) == 1 else None
        if number == 1:
            return DeduplicatedCommit(whole.text, whole.words, known)
        sound = audio.sound
        if known and letters("".join(w.text for w in whole.words)) == letters(first_copies(whole.text, 1)):
            # The words spell one copy, but the text has several.
            count = min(number, 1 + _unplaced([known], audio))
            return DeduplicatedCommit(
                first_copies(whole.text, count), *((whole.words, known) if count == 1 else ((), None))
            )
        room_s = sound.voiced_s(known[0][0], known[-1][1]) if known else sound.voiced_s(audio.after_s, audio.sent_s)
        count = self._possible(whole.text, number, room_s)
        if count == number:
            return DeduplicatedCommit(whole.text, whole.words, known)
        return DeduplicatedCommit(first_copies(whole.text, count), (), None)

    def _timed_copies(
        self, whole: DeduplicatedCommit, groups: list[Words], times: list[Times], audio: CommitAudio
    ) -> DeduplicatedCommit:
        number, sound = len(groups), audio.sound
        if not sound:
            same = all(same_times(groups[0], group) for group in groups)
            kept = [0] if same else list(range(number))
        else:
            kept = _copies_with_sound(times, sound) or [0]
        said = sum(sound.voiced_s(times[i][0][0], times[i][-1][1]) for i in kept)
        if len(kept) == number and sound:
            count = self._possible(whole.text, number, said)
            if count < number:  # their times share the sound of fewer copies
                return DeduplicatedCommit(first_copies(whole.text, count), (), None)
        more = _unplaced([times[i] for i in kept], audio) if len(kept) < number and sound else 0
        if more:  # they were said, but these are not their times
            return DeduplicatedCommit(first_copies(whole.text, min(number, len(kept) + more)), (), None)
        words = tuple(word for i in kept for word in groups[i])
        return DeduplicatedCommit(first_copies(whole.text, len(kept)), words, [one for i in kept for one in times[i]])

    def _possible(self, text: str, number: int, room_s: float) -> int:
        """Number of copies that can have been said in `room_s` seconds of sound: `number` or one of its divisors."""
        once = effort(text) / number
        fastest = MAX_LETTERS_PER_S
        if len(self._rates) >= MIN_RATED_COMMITS:
            fastest = min(fastest, MAX_RATE_FACTOR * max(self._rates))
        if once * number <= fastest * room_s:
            return number
        usual = min(fastest, USUAL_MAX_LETTERS_PER_S) * room_s
        return max((n for n in range(1, number) if number % n == 0 and once * n <= usual), default=1)

    def _repeated_s(self, text: str) -> float | None:
        """Session second at which the recent commits that together contain the text begin, or None if none do."""
        plain = letters(text)
        once, joined = plain[: period(plain)], ""
        for recent, begin_s in reversed(self._recent):
            joined = recent + joined
            if once and once in joined:
                return begin_s
        return None

    def _remember(self, said: DeduplicatedCommit, audio: CommitAudio, number: int) -> None:
        sound = audio.sound
        waiting = self._untimed_effort(audio)
        if said.times is None:
            self._untimed = (audio.after_s, waiting + effort(said.text))
            self._skipped_s = 0.0
        else:
            self._untimed = (-1.0, 0)
            gap_s = sound.voiced_s(audio.after_s, said.times[0][0]) - waiting / TYPICAL_LETTERS_PER_S
            self._skipped_s = max(self._skipped_s, gap_s)
        self._recent.append((letters(said.text), said.times[0][0] if said.times else audio.after_s))
        room_s = sound.voiced_s(audio.after_s, audio.sent_s)
        if said.times is not None:
            room_s = sound.voiced_s(said.times[0][0], said.times[-1][1])
        self._had_sound = room_s >= MIN_SOUND_S
        if number == 1 and room_s >= 1.0 and (said.times is not None or audio.bounded):
            self._rates.append(effort(said.text) / room_s)

    def _is_said(self, text: str, times: Sequence[Times | None], audio: CommitAudio) -> bool:
        """Whether repeated text has sound of its own after the previous commit."""
        if known := [one for one in times if one]:
            own = any(_share(one, audio.sound) >= MIN_OWN_SOUND_SHARE for one in known)
            return own or _has_room([word for one in known for word in one], audio)
        if self._skipped_s >= max(MIN_SKIPPED_S, effort(text) / MAX_LETTERS_PER_S):
            return True  # the previous commit may carry the times of this one
        room_s = audio.sound.voiced_s(audio.after_s, audio.sent_s)
        if before := self._untimed_effort(audio):  # the sound belongs to these commits first
            return room_s >= (before + effort(text)) / (MAX_LETTERS_PER_S * UNPLACED_TOLERANCE)
        return room_s >= max(MIN_SOUND_S, effort(text) / MAX_LETTERS_PER_S / 2)

    def _untimed_effort(self, audio: CommitAudio) -> int:
        """Effort of the commits without times whose sound is somewhere in `audio`."""
        after_s, before = self._untimed
        return before if after_s == audio.after_s else 0


def count_dropped_copies(text: str, said: DeduplicatedCommit | None) -> int:
    """Number of copies of a text that were dropped from a commit. A dropped phantom counts as one."""
    if said is None:
        return 1
    if letters(said.text) == letters(text):
        return 0
    return max(1, copies(text) - copies(said.text)) if same_once(text, said.text) else 1


def _rising_part(words: Words) -> Words:
    """The words up to the first one that begins no later than the word before it."""
    for index in range(1, len(words)):
        before, start = words[index - 1].start, words[index].start
        if before is not None and start is not None and start <= before:
            return words[:index]
    return words


def _unplaced(copies_placed: Sequence[Times], audio: CommitAudio) -> int:
    """Number of further copies for which sound follows directly after the placed copies."""
    sound, last_s = audio.sound, max(times[-1][1] for times in copies_placed)
    said_s = sum(sound.voiced_s(times[0][0], times[-1][1]) for times in copies_placed) / len(copies_placed)
    rest_s = sound.voiced_s(last_s, min(audio.sent_s, sound.pause_s(last_s, MIN_PAUSE_S)))
    return int(rest_s / max(said_s, MIN_SOUND_S) + 0.5)


def _without_echoes(text: str, words: Words, audio: CommitAudio) -> tuple[str, Words]:
    """Remove words that repeat earlier words of the commit with the same times.

    Whole copies of the text are left to `_once`. Words with unexplained sound after the others stay."""
    again = {
        index for index, word in enumerate(words) if any(same_times((word,), (before,)) for before in words[:index])
    }
    if not again or copies(text) > 1 or letters("".join(w.text for w in words)) != letters(text):
        return text, words
    kept = tuple(word for index, word in enumerate(words) if index not in again)
    last_s = max(word.end or 0.0 for word in kept)
    rest_s = audio.sound.voiced_s(last_s, min(audio.sent_s, audio.sound.pause_s(last_s, MIN_PAUSE_S)))
    if rest_s >= sum((words[i].end or 0.0) - (words[i].start or 0.0) for i in again) / 2:
        return text, words
    pieces, count = [], 0
    for index, word in enumerate(words):
        end = count + len(letters(word.text))
        if index not in again:
            pieces.append(up_to_letter(text, end)[len(up_to_letter(text, count)) :])
        count = end
    return "".join(pieces).strip(), kept


def _has_room(times: Times, audio: CommitAudio) -> bool:
    """Whether words that are placed in silence have enough sound around them, so that only their times are inexact."""
    length_s = sum(end - start for start, end in times)
    if not audio.sound or audio.sound.starts[0] > times[0][0] + MAX_FIRST_LATE_SOUND_S:
        return False  # the sound belongs to later words
    left_s = audio.sound.voiced_s(audio.after_s, times[-1][1] + MAX_LATE_SOUND_S)
    return left_s >= max(MIN_SOUND_S, MIN_OWN_SOUND_SHARE * length_s)


def _groups(words: Words, text: str, number: int) -> list[Words] | None:
    """The words of each copy, or None if they differ from the text or a word spans two copies."""
    size = period(letters(text))
    groups: list[list[WireWord]] = [[] for _ in range(number)]
    count = 0
    for word in words:
        length = len(letters(word.text))
        index = min(count // size, number - 1)
        if count + length > (index + 1) * size:
            return None
        groups[index].append(word)
        count += length
    return [tuple(group) for group in groups] if count == size * number else None


def _copies_with_sound(times: Sequence[Times], sound: VoicedRuns) -> list[int]:
    """Indices of the copies with sound that no earlier copy uses."""
    kept: list[int] = []
    for index, one in enumerate(times):
        free = [t for t in one if not any(_overlap(t, known) for i in kept for known in times[i])]
        if len(free) * 2 > len(one) and _share(free, sound) >= MIN_OWN_SOUND_SHARE:
            kept.append(index)
    return kept


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    shared_s = min(one[1], other[1]) - max(one[0], other[0])
    return shared_s > 0.3 * min(one[1] - one[0], other[1] - other[0]) or one == other


def _share(times: Times, sound: VoicedRuns) -> float:
    """Share of the time of some words (0 to 1) that is sound."""
    total_s = sum(end - start for start, end in times)
    if total_s <= 0:
        return 1.0 if sound.voiced_s(times[0][0] - MIN_SOUND_S, times[-1][1] + MIN_SOUND_S) > 0 else 0.0
    return sum(sound.voiced_s(start, end) for start, end in times) / total_s
