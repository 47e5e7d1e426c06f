"""Removes text that the service repeats although it was spoken once. No I/O.

Services have been seen to triple the text inside one commit, and to commit the last words again although no voice
follows (a phantom). People repeat themselves as well. The audio decides: a copy of a text is dropped only if the commit
has too little sound for the copy to have been spoken in addition to the other copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.realtime.commit_pairing import SAME_TIME_S, same_times
from worker.realtime.messages import WireWord
from worker.realtime.text_match import copies, effort, first_copies, letters, period, same_once, up_to_letter
from worker.recent_items import RecentItems
from worker.transcript.commit_audio import CommitAudio
from worker.transcript.echoed_words import echoes
from worker.transcript.voiced_runs import VoicedRuns
from worker.transcript.word_time_correction import WordTimeCorrector, convert
from worker.transcript.word_time_repair import Times, repaired_times, with_filled_times

MAX_LETTERS_PER_S: Final = 30.0
"""Number of Latin letters that the fastest speakers say in a second of voice."""
USUAL_MAX_LETTERS_PER_S: Final = 20.0
"""Number of Latin letters that fast speakers say in a second of voice. If a repeated text is too long for its sound
even at the maximum rate, this rate decides how many of its copies are kept."""
TYPICAL_LETTERS_PER_S: Final = 12.0
"""Number of Latin letters in a second of voice in ordinary speech."""
MIN_SKIPPED_S: Final = 0.2
"""At least this much sound between two commits is not explained by inexact word times."""
UNPLACED_TOLERANCE: Final = 1.15
"""Repeated text without word times is accepted up to a speaking rate of MAX_LETTERS_PER_S times this factor."""
MIN_OWN_SOUND_SHARE: Final = 0.4
"""A copy counts as spoken only if at least this share of its duration is sound that no other copy uses."""
MIN_SAME_SHARE: Final = 0.5
"""Two copies of a word are one if they share more than this part of the time from the first start to the last end."""
COPY_SHIFTS_S: Final = tuple(sorted((n * 0.05 for n in range(-6, 7)), key=abs))
"""Seconds by which the times of copies may be wrong, smallest first."""
COPY_ERROR_S: Final = 0.1
"""Seconds by which the times of one copy may be wrong in addition."""
MIN_SOUND_S: Final = 0.05
"""A shorter sound is not a word."""
MAX_LATE_SOUND_S: Final = 0.3
"""Sound up to this long after the last word of a commit may belong to the commit, because word times are inexact."""
MAX_FIRST_LATE_SOUND_S: Final = 0.45
"""Sound that begins more than this after the start of the first word of a commit does not belong to the commit."""
MIN_PAUSE_S: Final = 0.6
"""A pause of at least this duration ends the sound that can belong to a commit."""
MAX_RECENT_COMMITS: Final = 20
"""Number of latest commits whose words a phantom (a commit without voice) may repeat. It is more than 1 because above
real time, other commits may arrive between the original and the phantom."""
MIN_RATED_COMMITS: Final = 3
"""Minimum number of commits with a measured speaking rate before MAX_RATE_FACTOR is used."""
MAX_RATE_FACTOR: Final = 1.6
"""A commit is spoken at most this many times as fast as the fastest commit that was measured."""


Words = tuple[WireWord, ...]


@dataclass(frozen=True, slots=True)
class DeduplicatedCommit:
    """The part of a commit that was spoken: the commit without false repetitions."""

    text: str
    words: Words
    times: Times | None
    """Times of `words` in seconds since the start of the session, or None if the times are unusable."""


class DuplicateTextFilter:
    """Removes repeated text from the commits of one session."""

    def __init__(self) -> None:
        # For each of the latest commits: its text, reduced to letters and digits, and its start in seconds since the
        # start of the session.
        self._recent: RecentItems[tuple[str, float]] = RecentItems(MAX_RECENT_COMMITS)
        self._had_sound = False  # whether there was sound under the previous commit
        self._rates: RecentItems[float] = RecentItems(20)  # speaking rates of the latest commits, in letters per second
        # Seconds of sound before a commit with times that belong neither to this commit nor to an earlier one.
        self._skipped_s = 0.0
        # (end of the last commit with word times, in seconds of the session; effort to speak the commits without times
        # since then, see `text_match.effort`)
        self._untimed = (-1.0, 0)

    def apply(
        self, text: str, words: Words, corrector: WordTimeCorrector, audio: CommitAudio
    ) -> DeduplicatedCommit | None:
        """Return the spoken part of a commit, or None if the commit repeats earlier text without voice (a phantom).

        Call this method once for each commit, in order of arrival. `corrector` converts the word times of the
        session."""
        text, words = _without_echoes(text, words, audio)
        begins_s = self._repeated_s(text)
        number = copies(text)
        groups = _groups(words, text, number) if number > 1 else [words]
        if groups is None or not all(groups):
            groups = [words]
        times = self._times(words, groups, corrector, audio, begins_s)
        said = self._once(DeduplicatedCommit(text, words, None), number, groups, times, audio)
        # If no sound was measured during the previous commit either, the measurement is not reliable. Then missing
        # sound does not show that the text is a phantom.
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
        """Return the times of the words of each group, in seconds since the start of the session. Returns None for a
        group with unusable times.

        A group contains the words of one copy of the text. `begins_s`: see `_repeated_s`."""
        read = [repaired_times(group, audio) for group in groups] if words else [None]
        # All copies use the same conversion, because the distances between copies must be preserved.
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
        """Return the commit with only the copies of its text that were spoken.

        `number`: number of copies in the text. `groups`: the words of each copy, or one group with all words if the
        copies cannot be separated."""
        if len(groups) == number > 1 and all(times):
            return self._timed_copies(whole, groups, [t for t in times if t], audio)
        known = times[0] if len(groups) == 1 else None
        if number == 1:
            return DeduplicatedCommit(whole.text, whole.words, known)
        sound = audio.sound
        if known and letters("".join(w.text for w in whole.words)) == letters(first_copies(whole.text, 1)):
            # The words spell one copy of the text, but the text contains several copies.
            count = min(number, 1 + _unplaced([known], audio))
            return DeduplicatedCommit(
                first_copies(whole.text, count), *((whole.words, known) if count == 1 else ((), None))
            )
        room_s = sound.voiced_s(known[0][0], known[-1][1]) if known else audio.voiced_s()
        count = self._possible(whole.text, number, room_s)
        if count == number:
            return DeduplicatedCommit(whole.text, whole.words, known)
        return DeduplicatedCommit(first_copies(whole.text, count), (), None)

    def _timed_copies(
        self, whole: DeduplicatedCommit, groups: list[Words], times: list[Times], audio: CommitAudio
    ) -> DeduplicatedCommit:
        """Return the copies that were spoken. Each copy must have word times. If there is no sound with which the times
        can be compared, and all copies have the same times, only the first copy was spoken."""
        number, sound = len(groups), audio.sound
        if not sound:
            same = all(same_times(groups[0], group) for group in groups)
            kept = [0] if same else list(range(number))
        else:
            kept = _copies_with_sound(times, sound) or [0]
        starts = [group[0].start for group in groups if group[0].start is not None]
        if sound and len(letters(whole.text)) == number and max(starts) - min(starts) <= SAME_TIME_S:
            # One character said twice, such as 謝謝: services give both the time of one token, so the sound at their
            # times cannot separate them. The length of the sound decides below.
            kept = list(range(number))
        if len(kept) == number and sound:
            first_s, last_s = min(one[0][0] for one in times), max(one[-1][1] for one in times)
            near_s = sound.voiced_s(first_s - MAX_LATE_SOUND_S, last_s + MAX_LATE_SOUND_S)
            count = self._possible(whole.text, number, near_s)
            if count < number:  # the sound within the times of all copies is too short for all of them
                return DeduplicatedCommit(first_copies(whole.text, count), (), None)
        more = _unplaced([times[i] for i in kept], audio) if len(kept) < number and sound else 0
        if more:  # further copies were spoken, but their word times are wrong
            return DeduplicatedCommit(first_copies(whole.text, min(number, len(kept) + more)), (), None)
        words = tuple(word for i in kept for word in groups[i])
        return DeduplicatedCommit(first_copies(whole.text, len(kept)), words, [one for i in kept for one in times[i]])

    def _possible(self, text: str, number: int, room_s: float) -> int:
        """Return the number of copies that can have been spoken in `room_s` seconds of sound.

        The result is `number` or a divisor of `number`."""
        once = effort(text) / number
        fastest = MAX_LETTERS_PER_S
        if len(self._rates) >= MIN_RATED_COMMITS:
            fastest = min(fastest, MAX_RATE_FACTOR * max(self._rates))
        if once * number <= fastest * room_s:
            return number
        usual = min(fastest, USUAL_MAX_LETTERS_PER_S) * room_s
        return max((n for n in range(1, number) if number % n == 0 and once * n <= usual), default=1)

    def _repeated_s(self, text: str) -> float | None:
        """Return the start of the recent commits that contain `text`, in seconds since the start of the session.

        The text may extend over several consecutive commits. Returns None if no recent commits contain the text."""
        plain = letters(text)
        once, joined = plain[: period(plain)], ""
        for recent, begin_s in reversed(self._recent):
            joined = recent + joined
            if once and once in joined:
                return begin_s
        return None

    def _remember(self, said: DeduplicatedCommit, audio: CommitAudio, number: int) -> None:
        """Update the recent texts of the session, its sound without text, and its speaking rate."""
        sound = audio.sound if said.times is None else audio.near_sound
        waiting = self._untimed_effort(audio)
        if said.times is None:
            self._untimed = (audio.after_s, waiting + effort(said.text))
            self._skipped_s = 0.0
        else:
            self._untimed = (-1.0, 0)
            gap_s = sound.voiced_s(audio.after_s, said.times[0][0]) - waiting / TYPICAL_LETTERS_PER_S
            self._skipped_s = max(self._skipped_s, gap_s)
        self._recent.append((letters(said.text), said.times[0][0] if said.times else audio.after_s))
        if said.times is not None:
            room_s = sound.voiced_s(said.times[0][0], said.times[-1][1])
        elif audio.bounded:
            room_s = audio.voiced_s()
        else:
            room_s = sound.voiced_s(audio.after_s, audio.sent_s)
        self._had_sound = room_s >= MIN_SOUND_S
        if number == 1 and room_s >= 1.0 and (said.times is not None or audio.bounded):
            self._rates.append(effort(said.text) / room_s)

    def _is_said(self, text: str, times: Sequence[Times | None], audio: CommitAudio) -> bool:
        """Whether there is sound in which a repeated text can have been spoken again.

        `text` repeats recent commits. `times`: for each group, the times of its words in seconds since the start of the
        session, or None if they are unusable."""
        if known := [one for one in times if one]:
            if _any_with_sound(known, audio.near_sound) or _any_with_sound(known, audio.sound):
                return True
            return _has_room([word for one in known for word in one], audio)
        if self._skipped_s >= max(MIN_SKIPPED_S, effort(text) / MAX_LETTERS_PER_S):
            return True  # the previous commit may have got the word times of this one: its own sound is unexplained
        room_s = audio.voiced_s()
        if before := self._untimed_effort(audio):  # the sound first has to explain these commits
            return room_s >= (before + effort(text)) / (MAX_LETTERS_PER_S * UNPLACED_TOLERANCE)
        return room_s >= max(MIN_SOUND_S, effort(text) / MAX_LETTERS_PER_S / 2)

    def _untimed_effort(self, audio: CommitAudio) -> int:
        """Return the total effort of the earlier commits without word times that were spoken somewhere in `audio`."""
        after_s, before = self._untimed
        return before if after_s == audio.after_s else 0


def count_dropped_copies(text: str, said: DeduplicatedCommit | None) -> int:
    """Return the number of copies that were dropped from a commit.

    `text`: the text of the commit. `said`: the spoken part of the commit, or None if the whole commit was dropped. A
    commit that was dropped as a whole is one copy."""
    if said is None:
        return 1
    if letters(said.text) == letters(text):
        return 0
    return max(1, copies(text) - copies(said.text)) if same_once(text, said.text) else 1


def _rising_part(words: Words) -> Words:
    """Return the first words of a list, up to the last word before their starts stop rising."""
    for index in range(1, len(words)):
        before, start = words[index - 1].start, words[index].start
        if before is not None and start is not None and start <= before:
            return words[:index]
    return words


def _unplaced(copies_placed: Sequence[Times], audio: CommitAudio) -> int:
    """Estimate how many further copies were spoken in the sound directly after the copies with known times.

    `copies_placed`: for each copy with known times, the times of its words in seconds since the start of the
    session."""
    sound, last_s = audio.sound, max(times[-1][1] for times in copies_placed)
    said_s = sum(sound.voiced_s(times[0][0], times[-1][1]) for times in copies_placed) / len(copies_placed)
    rest_s = sound.voiced_s(last_s, min(audio.sent_s, sound.pause_s(last_s, MIN_PAUSE_S)))
    return int(rest_s / max(said_s, MIN_SOUND_S) + 0.5)


def _without_echoes(text: str, words: Words, audio: CommitAudio) -> tuple[str, Words]:
    """Remove words that repeat earlier words of the same commit at the same times.

    The text and words are returned unchanged in three cases: the whole text is repeated (`_once` handles this case),
    the words do not spell the text, or the repeated words may have been spoken in the sound after the other words."""
    # Most commits have no word twice. Comparing the times of each pair of words took 5 % of the CPU time of a commit.
    if len({word.text for word in words}) == len(words):
        return text, words
    again = echoes(words)
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


def _any_with_sound(copies_placed: Sequence[Times], sound: VoicedRuns) -> bool:
    """Whether any of several copies of a text has sound of its own."""
    return any(_share(times, sound) >= MIN_OWN_SOUND_SHARE for times in copies_placed)


def _has_room(times: Times, audio: CommitAudio) -> bool:
    """Whether words whose times are in silence have enough sound near them. If so, the words were spoken, and only
    their times are inexact."""
    length_s = sum(end - start for start, end in times)
    if not audio.sound or audio.sound.starts[0] > times[0][0] + MAX_FIRST_LATE_SOUND_S:
        return False  # the sound begins too late, so it belongs to later words
    left_s = audio.sound.voiced_s(audio.after_s, times[-1][1] + MAX_LATE_SOUND_S)
    return left_s >= max(MIN_SOUND_S, MIN_OWN_SOUND_SHARE * length_s)


def _groups(words: Words, text: str, number: int) -> list[Words] | None:
    """Divide the words among the `number` copies of the text.

    Returns None if the words do not spell the text, or if a word extends over two copies."""
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
    """Return the indices of the copies that have sound which no earlier copy uses.

    `times`: for each copy, the times of its words in seconds since the start of the session. Inexact times are all
    moved by about the same shift. This is the smallest shift with which most copies have sound."""
    distinct: list[int] = []
    for index, one in enumerate(times):
        free = [t for t in one if not any(_overlap(t, known) for i in distinct for known in times[i])]
        if len(free) * 2 > len(one):
            distinct.append(index)
    best: list[int] = []
    for shift_s in COPY_SHIFTS_S:
        kept = [i for i in distinct if _has_own_sound(times[i], shift_s, sound)]
        best = max(best, kept, key=len)  # on a tie, the smaller shift
        if len(best) == len(distinct):
            break
    return best


def _has_own_sound(times: Times, shift_s: float, sound: VoicedRuns) -> bool:
    """Whether a copy whose times are moved by about `shift_s` has sound."""
    return any(
        _share([(start + shift_s + error_s, end + shift_s + error_s) for start, end in times], sound)
        >= MIN_OWN_SOUND_SHARE
        for error_s in (0.0, -COPY_ERROR_S, COPY_ERROR_S)
    )


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two time ranges are the same except for small errors: their intersection is most of their union."""
    shared_s = min(one[1], other[1]) - max(one[0], other[0])
    return shared_s > MIN_SAME_SHARE * (max(one[1], other[1]) - min(one[0], other[0])) or one == other


def _share(times: Times, sound: VoicedRuns) -> float:
    """Return the share (0 to 1) of the duration of the words that is sound.

    For words without duration, the share is 1 if there is sound within MIN_SOUND_S of them."""
    total_s = sum(end - start for start, end in times)
    if total_s <= 0:
        return 1.0 if sound.voiced_s(times[0][0] - MIN_SOUND_S, times[-1][1] + MIN_SOUND_S) > 0 else 0.0
    return sum(sound.voiced_s(start, end) for start, end in times) / total_s
