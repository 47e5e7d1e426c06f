"""Removes text that a commit repeats although it was said once (pure).

A service has been seen to triple the text inside one commit, and to commit the last words once more without voice.
People repeat themselves as well. The sound decides: a copy is dropped only if no sound is left for it.
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
from worker.transcript.word_time_correction import Times, WordTimeCorrector, applied, filled, repaired

FASTEST: Final = 30.0
"""Maximum Latin letters in a second of voice."""
USUAL: Final = 20.0
"""Usual maximum. It decides the number of copies once a text is known to be multiplied."""
TYPICAL: Final = 12.0
"""Letters a second of voice in ordinary speech."""
MIN_SKIPPED_S: Final = 0.2
"""Sound between two commits that is more than inexact word times leave."""
DOUBT: Final = 1.15
"""Text without a known place stays up to this many times the fastest speech."""
OWN_SOUND: Final = 0.4
"""Minimum share of a copy's length that is sound of its own."""
SHORTEST_S: Final = 0.05
"""Shorter sound is not a word."""
INEXACT_S: Final = 0.3
"""Words may be this far before their sound, or anywhere after it where no other commit is."""
EARLY_S: Final = 0.45
"""Maximum time of the first word of a commit before its sound."""
PAUSE_S: Final = 0.6
"""A pause this long ends the sound of a commit with unusable times."""
RECENT: Final = 20
"""Number of commits whose words a phantom may repeat: above real time, others arrive before it."""
HABIT: Final = (3, 1.6)
"""Number of commits after which no speaker is faster than their fastest by this factor."""


Words = tuple[WireWord, ...]


@dataclass(frozen=True, slots=True)
class DeduplicatedCommit:
    """The part of a commit that was said. `times`: session seconds of `words`, None if they are unusable."""

    text: str
    words: Words
    times: Times | None


class DuplicateTextFilter:
    """Finds the repeated text in the commits of one session."""

    def __init__(self) -> None:
        self._recent: deque[tuple[str, float]] = deque(maxlen=RECENT)  # letters, session second of the start
        self._sounded = False
        self._rates: deque[float] = deque(maxlen=20)
        self._skipped_s = 0.0  # sound before a commit with times that no commit explains
        self._untimed = (-1.0, 0)  # commits without times since the last place that is known: that place, their effort

    def take(
        self, text: str, words: Words, clock: WordTimeCorrector, evidence: CommitAudio
    ) -> DeduplicatedCommit | None:
        """The part of a commit that was said, or None when it is a phantom."""
        text, words = _without_echoes(text, words, evidence)
        begins_s = self._repeated_s(text)
        number = copies(text)
        groups = _groups(words, text, number) if number > 1 else [words]
        if groups is None or not all(groups):
            groups = [words]
        times = self._times(words, groups, clock, evidence, begins_s)
        take = self._once(DeduplicatedCommit(text, words, None), number, groups, times, evidence)
        if begins_s is not None and self._sounded and not self._is_said(take.text, times, evidence):
            return None
        self._remember(take, evidence, number)
        return take

    def _times(
        self, words: Words, groups: list[Words], clock: WordTimeCorrector, evidence: CommitAudio, begins_s: float | None
    ) -> list[Times | None]:
        """Session seconds of each group of words."""
        read = [repaired(group, evidence) for group in groups] if words else [None]
        # Copies with different times are read together: their distance is part of the rhythm.
        first = repaired(_rising_part(words), evidence) if len(groups) > 1 else read[0]
        reading = clock.read(first[0], evidence, repeated_s=begins_s) if first else None
        return [filled(applied(one[0], reading), one[1], evidence) if one and reading else None for one in read]

    def _once(
        self,
        whole: DeduplicatedCommit,
        number: int,
        groups: list[Words],
        times: list[Times | None],
        evidence: CommitAudio,
    ) -> DeduplicatedCommit:
        """The copies that were said."""
        if len(groups) == number > 1 and all(times):
            return self._timed_copies(whole, groups, [t for t in times if t], evidence)
        known = times[0] if len(groups) == 1 else None
        if number == 1:
            return DeduplicatedCommit(whole.text, whole.words, known)
        sound = evidence.sound
        if known and letters("".join(w.text for w in whole.words)) == letters(first_copies(whole.text, 1)):
            count = min(number, 1 + _unplaced([known], evidence))  # words of one copy under the text of several
            return DeduplicatedCommit(
                first_copies(whole.text, count), *((whole.words, known) if count == 1 else ((), None))
            )
        room_s = (
            sound.voiced_s(known[0][0], known[-1][1]) if known else sound.voiced_s(evidence.after_s, evidence.sent_s)
        )
        count = self._possible(whole.text, number, room_s)
        if count == number:
            return DeduplicatedCommit(whole.text, whole.words, known)
        return DeduplicatedCommit(first_copies(whole.text, count), (), None)

    def _timed_copies(
        self, whole: DeduplicatedCommit, groups: list[Words], times: list[Times], evidence: CommitAudio
    ) -> DeduplicatedCommit:
        number, sound = len(groups), evidence.sound
        if not sound:
            same = all(same_times(groups[0], group) for group in groups)
            kept = [0] if same else list(range(number))
        else:
            kept = _sounding(times, sound) or [0]
        said = sum(sound.voiced_s(times[i][0][0], times[i][-1][1]) for i in kept)
        if len(kept) == number and sound:
            count = self._possible(whole.text, number, said)
            if count < number:  # their times share the sound of fewer copies
                return DeduplicatedCommit(first_copies(whole.text, count), (), None)
        more = _unplaced([times[i] for i in kept], evidence) if len(kept) < number and sound else 0
        if more:  # they were said, but these are not their times
            return DeduplicatedCommit(first_copies(whole.text, min(number, len(kept) + more)), (), None)
        words = tuple(word for i in kept for word in groups[i])
        return DeduplicatedCommit(first_copies(whole.text, len(kept)), words, [one for i in kept for one in times[i]])

    def _possible(self, text: str, number: int, room_s: float) -> int:
        """How many of `number` copies can have been said in `room_s` seconds of sound: all, or a divisor of them."""
        once = effort(text) / number
        least, factor = HABIT
        fastest = FASTEST if len(self._rates) < least else min(FASTEST, factor * max(self._rates))
        if once * number <= fastest * room_s:
            return number
        usual = min(fastest, USUAL) * room_s
        return max((n for n in range(1, number) if number % n == 0 and once * n <= usual), default=1)

    def _repeated_s(self, text: str) -> float | None:
        """Session second at which the last commits that contain the whole text begin, or None if they do not."""
        plain = letters(text)
        once, joined = plain[: period(plain)], ""
        for recent, begin_s in reversed(self._recent):
            joined = recent + joined
            if once and once in joined:
                return begin_s
        return None

    def _remember(self, take: DeduplicatedCommit, evidence: CommitAudio, number: int) -> None:
        sound = evidence.sound
        waiting = self._untimed_effort(evidence)
        if take.times is None:
            self._untimed = (evidence.after_s, waiting + effort(take.text))
            self._skipped_s = 0.0
        else:
            self._untimed = (-1.0, 0)
            gap_s = sound.voiced_s(evidence.after_s, take.times[0][0]) - waiting / TYPICAL
            self._skipped_s = max(self._skipped_s, gap_s)
        self._recent.append((letters(take.text), take.times[0][0] if take.times else evidence.after_s))
        room_s = sound.voiced_s(evidence.after_s, evidence.sent_s)
        if take.times is not None:
            room_s = sound.voiced_s(take.times[0][0], take.times[-1][1])
        self._sounded = room_s >= SHORTEST_S
        if number == 1 and room_s >= 1.0 and (take.times is not None or evidence.bounded):
            self._rates.append(effort(take.text) / room_s)

    def _is_said(self, text: str, times: Sequence[Times | None], evidence: CommitAudio) -> bool:
        """Whether repeated text has sound of its own, after the commit before it."""
        if known := [one for one in times if one]:
            own = any(_share(one, evidence.sound) >= OWN_SOUND for one in known)
            return own or _has_room([word for one in known for word in one], evidence)
        if self._skipped_s >= max(MIN_SKIPPED_S, effort(text) / FASTEST):
            return True  # the commit before it may have been given the times of this one
        room_s = evidence.sound.voiced_s(evidence.after_s, evidence.sent_s)
        if before := self._untimed_effort(evidence):  # the sound is of these commits first
            return room_s >= (before + effort(text)) / (FASTEST * DOUBT)
        return room_s >= max(SHORTEST_S, effort(text) / FASTEST / 2)

    def _untimed_effort(self, evidence: CommitAudio) -> int:
        """Effort of the commits whose sound, of unknown place, is part of the evidence."""
        after_s, before = self._untimed
        return before if after_s == evidence.after_s else 0


def dropped_pieces(text: str, take: DeduplicatedCommit | None) -> int:
    """Number of pieces of a commit's text that were dropped."""
    if take is None:
        return 1
    if letters(take.text) == letters(text):
        return 0
    return max(1, copies(text) - copies(take.text)) if same_once(text, take.text) else 1


def _rising_part(words: Words) -> Words:
    """The words up to the first one that begins no later than the word before it."""
    for index in range(1, len(words)):
        before, start = words[index - 1].start, words[index].start
        if before is not None and start is not None and start <= before:
            return words[:index]
    return words


def _unplaced(copies_placed: Sequence[Times], evidence: CommitAudio) -> int:
    """Number of further copies for which there is sound right after those with a place."""
    sound, last_s = evidence.sound, max(times[-1][1] for times in copies_placed)
    said_s = sum(sound.voiced_s(times[0][0], times[-1][1]) for times in copies_placed) / len(copies_placed)
    rest_s = sound.voiced_s(last_s, min(evidence.sent_s, sound.pause_s(last_s, PAUSE_S)))
    return int(rest_s / max(said_s, SHORTEST_S) + 0.5)


def _without_echoes(text: str, words: Words, evidence: CommitAudio) -> tuple[str, Words]:
    """A commit without words that repeat earlier text with the same times, unless they are whole copies of it. They
    stay if there is unexplained sound after the others."""
    again = {
        index for index, word in enumerate(words) if any(same_times((word,), (before,)) for before in words[:index])
    }
    if not again or copies(text) > 1 or letters("".join(w.text for w in words)) != letters(text):
        return text, words
    kept = tuple(word for index, word in enumerate(words) if index not in again)
    last_s = max(word.end or 0.0 for word in kept)
    rest_s = evidence.sound.voiced_s(last_s, min(evidence.sent_s, evidence.sound.pause_s(last_s, PAUSE_S)))
    if rest_s >= sum((words[i].end or 0.0) - (words[i].start or 0.0) for i in again) / 2:
        return text, words
    pieces, count = [], 0
    for index, word in enumerate(words):
        end = count + len(letters(word.text))
        if index not in again:
            pieces.append(up_to_letter(text, end)[len(up_to_letter(text, count)) :])
        count = end
    return "".join(pieces).strip(), kept


def _has_room(times: Times, evidence: CommitAudio) -> bool:
    """Whether enough sound is left around words in silence, so that their times must be inexact."""
    length_s = sum(end - start for start, end in times)
    if not evidence.sound or evidence.sound.starts[0] > times[0][0] + EARLY_S:
        return False  # the sound is of later words
    left_s = evidence.sound.voiced_s(evidence.after_s, times[-1][1] + INEXACT_S)
    return left_s >= max(SHORTEST_S, OWN_SOUND * length_s)


def _groups(words: Words, text: str, number: int) -> list[Words] | None:
    """The words of each copy, or None when they are not the text, or a word reaches from one copy into the next."""
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


def _sounding(times: Sequence[Times], sound: VoicedRuns) -> list[int]:
    """The copies with sound that none of the copies before them has."""
    kept: list[int] = []
    for index, one in enumerate(times):
        free = [t for t in one if not any(_overlap(t, known) for i in kept for known in times[i])]
        if len(free) * 2 > len(one) and _share(free, sound) >= OWN_SOUND:
            kept.append(index)
    return kept


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    shared_s = min(one[1], other[1]) - max(one[0], other[0])
    return shared_s > 0.3 * min(one[1] - one[0], other[1] - other[0]) or one == other


def _share(times: Times, sound: VoicedRuns) -> float:
    total_s = sum(end - start for start, end in times)
    if total_s <= 0:
        return 1.0 if sound.voiced_s(times[0][0] - SHORTEST_S, times[-1][1] + SHORTEST_S) > 0 else 0.0
    return sum(sound.voiced_s(start, end) for start, end in times) / total_s
