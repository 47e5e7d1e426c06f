"""Text that a commit repeats although nobody said it again (pure).

A service has been seen to triple the text inside one commit, and to commit the last words once more without voice.
People repeat themselves as well. The sound decides: a copy goes only where no sound is left for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.realtime.messages import WireWord
from worker.realtime.pairing import same_times
from worker.realtime.text_match import copies, effort, first_copies, letters, period
from worker.transcript.sound import Evidence, Sound
from worker.transcript.word_clock import Times, WordClock, applied, filled, repaired

FASTEST: Final = 30.0
"""Nobody speaks more Latin letters in a second of voice."""
USUAL: Final = 20.0
"""Few speak more. Once a text is known to be multiplied, the number of its copies is judged by this."""
OWN_SOUND: Final = 0.4
"""Share of a copy's length that must be sound of its own."""
SHORTEST_S: Final = 0.05
"""Sound shorter than this is no word."""
PAUSE_S: Final = 0.6
"""A pause this long ends the sound that a commit is about, where its times do not tell."""
RECENT: Final = 20
"""Commits whose words a phantom may repeat: above real time, others come before it."""
HABIT: Final = (3, 1.6)
"""After so many commits, nobody speaks this much faster than in any of them."""


@dataclass(frozen=True, slots=True)
class Take:
    """The part of a commit that was said. `times`: session seconds of `words`, None when they tell nothing."""

    text: str
    words: tuple[WireWord, ...]
    times: Times | None


class Repeats:
    """Follows the commits of one session."""

    def __init__(self) -> None:
        self._recent: deque[tuple[str, float]] = deque(maxlen=RECENT)  # letters, session second of the start
        self._sounded = False
        self._rates: deque[float] = deque(maxlen=20)

    def take(self, text: str, words: tuple[WireWord, ...], clock: WordClock, evidence: Evidence) -> Take | None:
        """The part of a commit that was said; None when it is a phantom."""
        begins_s = self._repeated_s(text)
        number = copies(text)
        groups = _groups(words, text, number) if number > 1 else [words]
        if groups is None or not all(groups):
            groups = [words]
        read = [repaired(group, evidence) for group in groups] if words else [None]
        reading = clock.read(read[0][0], evidence, repeated_s=begins_s) if read[0] else None
        times = [filled(applied(one[0], reading), one[1], evidence) if one and reading else None for one in read]
        take = self._once(Take(text, words, None), number, groups, times, evidence)
        if begins_s is not None and self._sounded and not self._is_said(take, evidence):
            return None
        self._remember(take, evidence, number)
        return take

    def _once(
        self,
        whole: Take,
        number: int,
        groups: list[tuple[WireWord, ...]],
        times: list[Times | None],
        evidence: Evidence,
    ) -> Take:
        """The copies that were said."""
        if len(groups) == number > 1 and all(times):
            return self._timed_copies(whole, groups, [t for t in times if t], evidence)
        known = times[0] if len(groups) == 1 else None
        if number == 1:
            return Take(whole.text, whole.words, known)
        sound = evidence.sound
        room_s = (
            sound.voiced_s(known[0][0], known[-1][1]) if known else sound.voiced_s(evidence.after_s, evidence.sent_s)
        )
        count = self._possible(whole.text, number, room_s)
        if count == number:
            return Take(whole.text, whole.words, known)
        return Take(first_copies(whole.text, count), (), None)

    def _timed_copies(
        self, whole: Take, groups: list[tuple[WireWord, ...]], times: list[Times], evidence: Evidence
    ) -> Take:
        number, sound = len(groups), evidence.sound
        if not sound:
            same = all(same_times(groups[0], group) for group in groups)
            kept = [0] if same else list(range(number))
        else:
            kept = _sounding(times, sound) or [0]
        said = sum(sound.voiced_s(times[i][0][0], times[i][-1][1]) for i in kept)
        if len(kept) == number and sound:
            count = self._possible(whole.text, number, said)
            if count < number:  # squeezed into the sound of fewer
                return Take(first_copies(whole.text, count), (), None)
        if len(kept) < number and sound:
            last_s = max(times[i][-1][1] for i in kept)
            rest_s = sound.voiced_s(last_s, min(evidence.sent_s, sound.pause_s(last_s, PAUSE_S)))
            more = int(rest_s / max(said / len(kept), SHORTEST_S) + 0.5)
            if more:  # they were said, but these are not their times
                return Take(first_copies(whole.text, min(number, len(kept) + more)), (), None)
        words = tuple(word for i in kept for word in groups[i])
        return Take(first_copies(whole.text, len(kept)), words, [one for i in kept for one in times[i]])

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
        """Session second at which the last commits begin that hold all of the text; None when they do not."""
        plain = letters(text)
        once, joined = plain[: period(plain)], ""
        for recent, begin_s in reversed(self._recent):
            joined = recent + joined
            if once and once in joined:
                return begin_s
        return None

    def _is_said(self, take: Take, evidence: Evidence) -> bool:
        """Whether repeated text has sound of its own, after the commit before it."""
        sound = evidence.sound
        if take.times is None:
            room_s = sound.voiced_s(evidence.after_s, evidence.sent_s)
            return room_s >= max(SHORTEST_S, effort(take.text) / FASTEST / 2)
        return _share(take.times, sound) >= OWN_SOUND

    def _remember(self, take: Take, evidence: Evidence, number: int) -> None:
        sound = evidence.sound
        self._recent.append((letters(take.text), take.times[0][0] if take.times else evidence.after_s))
        room_s = sound.voiced_s(evidence.after_s, evidence.sent_s)
        if take.times is not None:
            room_s = sound.voiced_s(take.times[0][0], take.times[-1][1])
        self._sounded = room_s >= SHORTEST_S
        if number == 1 and room_s >= 1.0 and (take.times is not None or evidence.bounded):
            self._rates.append(effort(take.text) / room_s)


def _groups(words: tuple[WireWord, ...], text: str, number: int) -> list[tuple[WireWord, ...]] | None:
    """The words of each copy; None when they are not the text, or a word reaches from one copy into the next."""
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


def _sounding(times: Sequence[Times], sound: Sound) -> list[int]:
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


def _share(times: Times, sound: Sound) -> float:
    total_s = sum(end - start for start, end in times)
    if total_s <= 0:
        return 1.0 if sound.voiced_s(times[0][0] - SHORTEST_S, times[-1][1] + SHORTEST_S) > 0 else 0.0
    return sum(sound.voiced_s(start, end) for start, end in times) / total_s
