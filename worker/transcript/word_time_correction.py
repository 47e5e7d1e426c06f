"""Detects the form and the delay of the word times of one session, and corrects them (pure).

A service's word times count from the first audio of the session, in seconds. Other forms exist: a delay
that grows with each commit, a constant delay, times from the start of the segment, milliseconds. The sent sound
distinguishes them: words are within sound, and a commit begins and ends with sound. Times that fit stay unchanged.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from worker.realtime.messages import WireWord
from worker.transcript.voiced_runs import CommitAudio, VoicedRuns

UNITS: Final = (1.0, 1e-3, 1e-6, 1e-9, 1e-7, 1e-2)
"""Seconds per unit of the times, the most likely first."""
WORD_S: Final = (0.01, 5.0)
"""Range of the median word length of a commit, in seconds."""
EDGE_S: Final = 0.02
"""Maximum distance between the edges of a word and its sound, which is measured to 10 ms."""
LEAST_SHIFT_S: Final = 0.02
"""Times with a smaller error count as exact."""
NEAR_S: Final = 0.45
"""Maximum difference from the expected shift in a search for drift; another word is further away."""
MARGIN_S: Final = 0.25
"""Sound this close before the first word or after the last one is evidence against a reading."""
GOOD: Final = 0.15
"""Share of misplaced sound up to which a reading is certain."""
FAIR: Final = 0.25
POOR: Final = 0.5
"""Share above which another reading is searched."""
COVERED: Final = 0.02
"""Maximum share of the words' length outside the sound of a noisy recording."""
BEYOND_S: Final = 0.5
"""Times may be this far outside the sent audio, because word ends are inexact."""
STRAY_S: Final = 2.0
"""A single word that is further before the sound of its commit has a wrong time."""
STEPS_S: Final = 0.35
"""Largest change of the shift from one commit to the next."""

TREND: Final = 4
"""This many similar steps in a row are a drift, even if no single commit shows it."""
TREND_STEP_S: Final = 0.05
TREND_SPREAD_S: Final = 0.05
RHYTHM: Final = 3
"""Minimum number of words with a characteristic rhythm."""

Times = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class TimeConversion:
    """Converts times of the service to session seconds: value * `unit` - `shift_s`."""

    unit: float
    shift_s: float
    certain: bool
    """Whether the sound confirms the reading."""


class WordTimeCorrector:
    """Reads the times of the commits of one session."""

    def __init__(self) -> None:
        self._relative: bool | None = None  # times count from the start of a segment, or None until a commit shows it
        self._commits = 0
        self._measured: deque[tuple[int, float]] = deque(maxlen=3)  # number of the commit, shift
        self._trend: deque[tuple[int, float]] = deque(maxlen=TREND + 1)  # the same where edges do not agree
        self._trend_base_s: float | None = None

    def read(self, times: Times, evidence: CommitAudio, *, repeated_s: float | None = None) -> TimeConversion | None:
        """The reading of a commit's times, None if no form explains them. `repeated_s`: start of the commits whose text
        it repeats; times in them more likely belong to a repetition than to another form of times."""
        sound, after_s, sent_s = evidence.sound, evidence.after_s, evidence.sent_s
        self._commits += 1
        near = self._trended(times, self._near(times, sound), sound)
        cost = _cost(_read(times, near), sound)
        inside = _inside(_read(times, near), after_s, sent_s)
        if inside and (cost <= POOR or not sound or _fits_noise(_read(times, near), sound)):
            self._remember(near, sound)
            if after_s > 0 and sound:
                self._relative = False
            return near
        far = self._far(times, sound, after_s, sent_s)
        if repeated_s is not None and self._is_copy(_read(times, near), far, times, evidence, repeated_s):
            return near
        if far is not None and (not inside or _cost(_read(times, far), sound) < cost - FAIR):
            if far.unit == 1.0 and self._measured and self._follows(far.shift_s):
                self._measured.append((self._commits, far.shift_s))  # a drift that some commits did not show
            else:
                self._relative = far.shift_s < -NEAR_S
            return far
        return near if inside else None

    # -- near the expected shift -----------------------------------------------------------------------------------

    def _near(self, times: Times, sound: VoicedRuns) -> TimeConversion:
        """The best shift near the expected one; the expected one if the sound does not decide."""
        readings = [TimeConversion(1.0, shift, certain=False) for shift in dict.fromkeys((self._expected_s(), 0.0))]
        best = min(readings, key=lambda r: _cost(_read(times, r), sound))  # the expected one when equal
        if not sound:
            return best
        cost = _cost(_read(times, best), sound)
        if _fits_noise(_read(times, best), sound):
            return best
        for base in readings:
            for shift_s in _shifts(times, sound, base.shift_s):
                reading = _aligned(times, sound, TimeConversion(1.0, shift_s, certain=False))
                if reading is None or abs(reading.shift_s - best.shift_s) < LEAST_SHIFT_S:
                    continue
                if (new := _cost(_read(times, reading), sound)) < cost * 0.6:
                    best, cost = reading, new
        # Follow a measured drift to the millisecond; do not change the times of a service without drift.
        exact = _aligned(times, sound, best) if best.shift_s else None
        return exact if exact is not None and abs(exact.shift_s - best.shift_s) < LEAST_SHIFT_S else best

    def _trended(self, times: Times, near: TimeConversion, sound: VoicedRuns) -> TimeConversion:
        """The reading by the trend of several commits, where the sound goes on around the words of each."""
        if near.certain:
            self._trend.clear()
            return near
        late_s = _lateness(times, sound, near.shift_s)
        if late_s is None:
            return near
        self._trend.append((self._commits, late_s))
        steps = [(b - a) / (n - m) for (m, a), (n, b) in pairwise(self._trend)]
        steady = len(steps) == TREND and max(steps) - min(steps) <= TREND_SPREAD_S
        if not steady or not all(TREND_STEP_S <= abs(step) <= STEPS_S for step in steps):
            return near
        if self._trend_base_s is None:
            self._trend_base_s = self._trend[0][1]
        step_s, shift_s = sum(steps) / TREND, late_s - self._trend_base_s
        self._measured.extend([(self._commits - 1, shift_s - step_s), (self._commits, shift_s)])
        return TimeConversion(1.0, shift_s, certain=False)

    def _expected_s(self) -> float:
        """The shift of this commit, from the line through the last ones that were measured."""
        if len(self._measured) < 2:
            return 0.0
        (first, begin_s), (last, end_s) = self._measured[-2], self._measured[-1]
        step_s = (end_s - begin_s) / (last - first)
        return end_s + step_s * (self._commits - last) if abs(step_s) <= STEPS_S else 0.0

    def _follows(self, shift_s: float) -> bool:
        number, last_s = self._measured[-1]
        return abs(shift_s - last_s) <= STEPS_S * (self._commits - number)

    def _remember(self, reading: TimeConversion, sound: VoicedRuns) -> None:
        if sound and (reading.certain or not (reading.shift_s or self._trend_base_s)):
            self._measured.append((self._commits, reading.shift_s))

    # -- other forms of times --------------------------------------------------------------------------------------

    def _far(self, times: Times, sound: VoicedRuns, after_s: float, sent_s: float) -> TimeConversion | None:
        """Another unit, or another start to count from."""
        found: list[tuple[float, TimeConversion]] = []
        for unit in UNITS:
            scaled = [(start * unit, end * unit) for start, end in times]
            length_s = scaled[-1][1] - scaled[0][0]
            if not WORD_S[0] <= median(end - start for start, end in scaled) <= WORD_S[1]:
                continue
            if length_s > sent_s - after_s + BEYOND_S:
                continue
            whole = TimeConversion(unit, 0.0, certain=False)
            if unit != 1.0 and _inside(scaled, after_s, sent_s):
                if not sound:
                    return whole
                if (cost := _cost(scaled, sound)) <= POOR:
                    found.append((cost, whole))
            for shift_s in self._starts(scaled, sound):
                reading = TimeConversion(unit, shift_s, certain=True)
                placed = _read(times, reading)
                cost = _cost(placed, sound)
                if cost <= FAIR and _inside(placed, after_s, sent_s):
                    found.append((cost, _aligned(times, sound, reading) or reading))
            if found:
                least = min(cost for cost, _ in found)
                if found[0][1].shift_s == 0.0 and found[0][0] <= least + FAIR / 2:
                    return found[0][1]
                # Commits arrive in order: of equal fits, use the first sound without text.
                return max((r for cost, r in found if cost <= least + EDGE_S * 2), key=lambda r: r.shift_s)
        return None

    def _is_copy(
        self, placed: Times, far: TimeConversion | None, times: Times, evidence: CommitAudio, repeated_s: float
    ) -> bool:
        """Whether a repeated text has the times of the commits that it repeats, not its own in another form."""
        sound = evidence.sound
        moved = _read(times, far) if far is not None else []
        fits = (
            bool(moved and sound.onsets)
            and abs(moved[0][0] - sound.onsets[0]) <= EDGE_S
            and _cost(moved, sound) <= GOOD / 2
        )
        # Sound that was sent ahead of this commit may belong to any later one: only its rhythm decides.
        if self._relative:
            return not (fits or evidence.bounded)
        if not _inside(placed, repeated_s, evidence.sent_s):
            return False
        return self._relative is False or not fits or (len(times) < RHYTHM and not evidence.bounded)

    def _starts(self, scaled: Times, sound: VoicedRuns) -> Iterator[float]:
        for onset in sound.onsets[:60]:
            yield scaled[0][0] - onset


def repaired(words: Sequence[WireWord], evidence: CommitAudio) -> tuple[Times, frozenset[int]] | None:
    """Start and end of each word in the service's own form, and the indices of the words whose times were derived
    from their neighbours, or None if fewer than half of the words have usable times."""
    if 2 * sum(_is_reversed(w) for w in words) > len(words):
        words = [WireWord(w.text, w.end, w.start, w.confidence) for w in words]
    known = [None if w.start == 0.0 and not w.end else w.start for w in words]  # 0 to 0 is not a time
    starts = _without_strays(known, evidence.after_s - STRAY_S, evidence.sent_s + BEYOND_S)
    good = _rising(starts)
    distinct = {starts[i] for i in good}
    if not good or len(good) * 2 < len(words) or (len(words) > 1 and len(distinct) * 2 <= len(good)):
        return None
    times: Times = []
    for index, word in enumerate(words):
        following = next((starts[i] for i in good if i > index), None)
        previous = times[-1][1] if times else following
        start = starts[index] if index in good else previous
        begin = float(start if start is not None else 0.0)
        end = word.end if word.end is not None and word.end > begin and index in good else None
        if end is None or (following is not None and end > following + (following - begin)):
            end = following if following is not None else begin
        times.append((begin, max(begin, end)))
    return times, frozenset(range(len(words))) - frozenset(good)


def filled(times: Times, missing: frozenset[int], evidence: CommitAudio) -> Times:
    """Session seconds of words; a word without times is placed where there is sound between its neighbours."""
    filled_in = list(times)
    for index in sorted(missing):
        if {index - 1, index + 1} & missing:
            continue  # the sound may belong to any of them
        from_s = times[index - 1][1] if index else evidence.after_s
        to_s = times[index + 1][0] if index + 1 < len(times) else evidence.sent_s
        runs = [run for run in evidence.sound.runs if run[0] >= from_s - EDGE_S and run[1] <= to_s + EDGE_S]
        if runs:
            filled_in[index] = runs[0] if index else runs[-1]
    return filled_in


def _without_strays(starts: list[float | None], from_s: float, to_s: float) -> list[float | None]:
    """Starts outside the audio are removed as single faults if most are inside; otherwise all have another form."""
    inside = [start is not None and from_s <= start <= to_s for start in starts]
    if sum(inside) * 2 <= len(starts):
        return starts
    return [start if good else None for start, good in zip(starts, inside, strict=True)]


def _is_reversed(word: WireWord) -> bool:
    return word.start is not None and word.end is not None and 0.0 < word.end < word.start


def _rising(starts: Sequence[float | None]) -> list[int]:
    """Indices of the longest rising part: only the start that breaks the order is wrong, not its neighbours."""
    best: list[list[int]] = []
    tails: list[float] = []
    for index, start in enumerate(starts):
        if start is None:
            continue
        place = bisect_right(tails, start)
        chain = [*(best[place - 1] if place else []), index]
        tails[place : place + 1], best[place : place + 1] = [start], [chain]
    return best[-1] if best else []


def applied(times: Times, reading: TimeConversion) -> Times:
    """Session seconds of times in the service's form."""
    return _read(times, reading)


def fits(times: Times, sound: VoicedRuns) -> bool:
    """Whether session seconds of words certainly match a sound."""
    return bool(sound) and _cost(times, sound) <= GOOD


def _read(times: Times, reading: TimeConversion) -> Times:
    return [(start * reading.unit - reading.shift_s, end * reading.unit - reading.shift_s) for start, end in times]


def _inside(times: Times, after_s: float, sent_s: float) -> bool:
    """Whether most words are within the audio sent since the previous commit."""
    outside = sum(end < after_s or start < -BEYOND_S or start > sent_s + BEYOND_S for start, end in times)
    return outside * 2 < len(times)


def _cost(times: Times, sound: VoicedRuns) -> float:
    """How badly times and sound fit, as a share of the words' length: words in silence, and sound right before the
    first word and right behind the last one. Sound between words is ignored, because recognizers shorten words."""
    words = [(start, max(end, start + EDGE_S)) for start, end in times]
    total_s = sum(end - start for start, end in words)
    silent_s = sum(end - start - sound.voiced_s(start, end) for start, end in words)
    first, last = words[0][0], words[-1][1]
    around_s = sound.voiced_s(first - MARGIN_S, first) + sound.voiced_s(last, last + MARGIN_S)
    return (silent_s + around_s) / total_s


def _fits_noise(times: Times, sound: VoicedRuns) -> bool:
    """Whether sound that was found in noise covers all words.

    Sound around them may be a burst of the noise, which is not a reason to move them."""
    words = [(start, max(end, start + EDGE_S)) for start, end in times]
    silent_s = sum(end - start - sound.voiced_s(start, end) for start, end in words)
    return sound.noisy and silent_s <= COVERED * sum(end - start for start, end in words)


def _shifts(times: Times, sound: VoicedRuns, expected_s: float) -> Iterator[float]:
    """Shifts near the expected one that bring the first start, or the last end, to where sound begins or ends."""
    first, last = times[0][0] - expected_s, times[-1][1] - expected_s
    for edge, edges in ((first, sound.onsets), (last, sound.ends)):
        for at in edges[bisect_left(edges, edge - NEAR_S) : bisect_right(edges, edge + NEAR_S)]:
            yield expected_s + edge - at


def _aligned(times: Times, sound: VoicedRuns, reading: TimeConversion) -> TimeConversion | None:
    """The reading with a refined shift, if the first start and the last end are both at an edge of the sound."""
    placed = _read(times, reading)
    starts = [d for start, _ in placed if (d := _to_edge(start, sound.onsets)) is not None]
    ends = [d for _, end in placed if (d := _to_edge(end, sound.ends)) is not None]
    first, last = _to_edge(placed[0][0], sound.onsets), _to_edge(placed[-1][1], sound.ends)
    if first is None or last is None or abs(first - last) > EDGE_S * 1.5:
        return None
    # Sound is measured up to 10 ms too early at its start and too late at its end: the mean of both is exact.
    off_s = (sum(starts) / len(starts) + sum(ends) / len(ends)) / 2
    return TimeConversion(reading.unit, reading.shift_s + off_s, certain=True)


def _lateness(times: Times, sound: VoicedRuns, expected_s: float) -> float | None:
    """How late a commit is by the mean of both ends: sound around the words is about the same before and behind."""
    first, last = times[0][0] - expected_s, times[-1][1] - expected_s
    onset = min(sound.onsets, key=lambda at: abs(first - at), default=None)
    end = min(sound.ends, key=lambda at: abs(last - at), default=None)
    if onset is None or end is None or abs(first - onset) > NEAR_S or abs(last - end) > NEAR_S:
        return None
    return expected_s + (first - onset + last - end) / 2


def _to_edge(at: float, edges: Sequence[float]) -> float | None:
    """Seconds after the nearest edge, or None if no edge is near."""
    index = bisect_left(edges, at)
    offs = [at - edge for edge in edges[max(0, index - 1) : index + 1]]
    nearest = min(offs, key=abs, default=None)
    return nearest if nearest is not None and abs(nearest) <= EDGE_S * 1.5 else None
