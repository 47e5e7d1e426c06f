"""Corrects the word times of one session: detects their unit, their origin and their delay. No I/O.

Word times should be seconds from the first audio of the session. Services also send times with a delay that grows with
each commit (drift) or is constant, times from the start of the segment, and milliseconds. Several conversions are tried
on the times of a commit. The right conversion is found with the sent audio: with it, words are within sound, and the
commit begins and ends together with sound. Times that match the sound without a conversion do not change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from worker.recent_items import RecentItems
from worker.transcript.commit_audio import MAX_ONSETS, NEAR_S, CommitAudio
from worker.transcript.delay_trend import MAX_STEP_S, DelayTrend
from worker.transcript.voiced_runs import VoicedRuns
from worker.transcript.word_time_repair import MAX_EARLY_START_S, MAX_EDGE_ERROR_S, MAX_OUTSIDE_S, Times
from worker.transcript.word_time_units import in_plausible_units

MIN_SHIFT_S: Final = 0.02
"""Two shifts that differ by less than this count as equal."""
SEARCH_RADIUS_S: Final = 0.45
"""A drift is searched up to this far from the expected shift. Further away, the sound of the next word could match."""
SURROUNDING_S: Final = 0.25
"""Sound within this time before the first word or after the last word of a commit increases the cost."""
MIN_PAUSE_S: Final = 0.4
"""Minimum pause before and after a phrase. Shorter ones are pauses between words."""
MAX_CERTAIN_COST: Final = 0.15
"""A conversion up to this cost (see `_cost`) is certain."""
MAX_COST_RATIO: Final = 0.6
"""Times are shifted only if that reduces the cost at least by this factor."""
MAX_LIKELY_COST: Final = 0.25
"""A conversion with another unit or origin is accepted up to this cost, and only if its cost is lower than that of the
expected conversion by at least this much."""
MAX_ACCEPTED_COST: Final = 0.5
"""If the cost of the expected conversion is higher, other units and origins are tried."""
MAX_SILENT_SHARE: Final = 0.02
"""In a noisy recording, words match the sound if at most this share of their duration is silent."""
MAX_INEXACT_SILENT_SHARE: Final = 0.5
"""Words at the expected times of which at most this share of their duration is silent are inexact, but not of another
unit or origin."""
MAX_INEXACT_S: Final = 0.3
"""The same for the seconds of mismatch (see `_cost`)."""
STEADY_STEPS: Final = 3
"""If the measured shift changes by similar steps this many times in a row, the drift is certain."""
MAX_TREND_SPREAD_S: Final = 0.05
"""Maximum difference between the largest and the smallest of these steps."""
MAX_NEAR_SHIFT_S: Final = NEAR_S / 2
"""With a larger shift, the words may be after the audio that is examined first."""
MIN_RHYTHM_WORDS: Final = 3
"""From this number of words on, the rhythm of a commit distinguishes it from other commits."""


@dataclass(frozen=True, slots=True)
class TimeConversion:
    """Converts times of the service to seconds since the start of the session: value * `unit` - `shift_s`."""

    unit: float
    shift_s: float
    certain: bool
    """Whether the sound confirms the conversion."""


class WordTimeCorrector:
    """Finds the conversion for the word times of each commit of one session."""

    def __init__(self) -> None:
        # Whether times count from the start of their segment instead of the session, or None until a commit shows it.
        self._relative: bool | None = None
        self._commits = 0  # number of commits so far
        # Commit number and shift, of the latest commits whose shift is reliable.
        self._measured: RecentItems[tuple[int, float]] = RecentItems(STEADY_STEPS + 1)
        self._trend = DelayTrend()

    def conversion(self, times: Times, audio: CommitAudio, *, repeated_s: float | None = None) -> TimeConversion | None:
        """Find the conversion of a commit's times, or return None if no conversion makes them plausible.

        `repeated_s`: start of earlier commits with the same text, in seconds since the start of the session, or None if
        there are no such commits. If the times of this commit are within those commits, they are probably copied from
        them; a different unit or origin is less likely. Call this method once for each commit, in order of arrival."""
        after_s, sent_s = audio.after_s, audio.sent_s
        self._commits += 1
        # Seconds from the start of the session are tried first. A moderate cost is enough to accept them, because most
        # services use them.
        sound = audio.near_sound
        near = self._near_expected(times, sound)
        if not self._is_confirmed(times, near, audio):
            sound = audio.sound
            near = self._near_expected(times, sound)
        near = self._follow_trend(times, near, sound)
        cost = _cost(convert(times, near), sound)
        inside = _mostly_inside(convert(times, near), after_s, sent_s)
        # The words of a long commit with times from the start of its segment match other speech well, but its first
        # times are before its audio.
        continues = self._relative is False or times[0][0] >= after_s - MAX_EARLY_START_S
        near_sound = cost <= MAX_ACCEPTED_COST or not sound or _is_near_sound(convert(times, near), sound)
        if inside and continues and near_sound:
            self._remember(near, sound)
            if after_s > 0 and sound:
                self._relative = False
            return near
        sound = audio.sound
        if inside and continues and (moved := self._onto_sound(times, near, sound)) is not None:
            return moved
        far = self._other_form(times, sound, after_s, sent_s)
        # Much sound without text may precede the words, so later sound is searched as well. Repeated text is excluded,
        # because it is more likely a phantom with copied times, and would be placed on the sound of a later commit.
        if far is None and not inside and repeated_s is None and audio.widen():
            sound = audio.sound
            far = self._other_form(times, sound, after_s, sent_s)
        if repeated_s is not None and self._is_copy(convert(times, near), far, times, audio, repeated_s):
            return near
        if far is not None and (not inside or _cost(convert(times, far), sound) < cost - MAX_LIKELY_COST):
            if far.unit == 1.0 and self._measured and self._follows(far.shift_s):
                # The times may have drifted during earlier commits whose shift was not certain. Then the shift is
                # outside the search radius.
                self._measured.append((self._commits, far.shift_s))
            else:
                self._relative = far.shift_s < -SEARCH_RADIUS_S
            return far
        return near if inside else None

    def _is_confirmed(self, times: Times, near: TimeConversion, audio: CommitAudio) -> bool:
        """Whether the sound near the words is enough to accept a conversion. Otherwise later sound may match better."""
        placed, sound = convert(times, near), audio.near_sound
        return (
            bool(sound)
            and sound.certain
            and max(abs(near.shift_s), abs(self._expected_s())) < MAX_NEAR_SHIFT_S
            and _mostly_inside(placed, audio.after_s, audio.sent_s)
            and _cost(placed, sound) <= MAX_ACCEPTED_COST
        )

    # -- near the expected shift -----------------------------------------------------------------------------------

    def _near_expected(self, times: Times, sound: VoicedRuns) -> TimeConversion:
        """Return a conversion with the best shift near the expected shift or near 0.

        The best shift is the expected one, unless another shift matches the sound better."""
        conversions = [TimeConversion(1.0, shift, certain=False) for shift in dict.fromkeys((self._expected_s(), 0.0))]
        best = min(conversions, key=lambda r: _cost(convert(times, r), sound))  # on a tie, the expected shift
        if not sound:
            return best
        # Inexact times of a few commits can look like a drift. So the shift that is extrapolated from a drift is only
        # used if it is clearly better.
        cost, given_cost = _cost(convert(times, best), sound), _cost(times, sound)
        needed = given_cost > MAX_CERTAIN_COST and cost < given_cost * MAX_COST_RATIO
        if best.shift_s and not self._is_steady() and not needed:
            best, cost = conversions[-1], given_cost
        if _fits_noise(convert(times, best), sound):
            return best
        # Replace it only by a shift that is clearly better and aligned with the edges of the sound.
        for base in conversions:
            for shift_s in _shifts(times, sound, base.shift_s):
                conversion = _aligned(times, sound, TimeConversion(1.0, shift_s, certain=False))
                if conversion is None or abs(conversion.shift_s - best.shift_s) < MIN_SHIFT_S:
                    continue
                if (new := _cost(convert(times, conversion), sound)) < cost * MAX_COST_RATIO:
                    best, cost = conversion, new
        # Follow a measured drift to the millisecond; do not change the times of a service without drift.
        exact = _aligned(times, sound, best) if best.shift_s else None
        return exact if exact is not None and abs(exact.shift_s - best.shift_s) < MIN_SHIFT_S else best

    def _follow_trend(self, times: Times, near: TimeConversion, sound: VoicedRuns) -> TimeConversion:
        """Return a conversion that follows the trend of several commits. Returns `near` if `near` is certain, or if
        there is no trend."""
        if near.certain:
            self._trend.add(self._commits, near.shift_s)
            return near
        delay_s = _lateness(times, sound, self._trend.search_s(self._commits))
        if delay_s is not None:
            self._trend.add(self._commits, delay_s)
        if not self._trend.detected:
            return near
        # Inexact times can look like the start of a drift. The times as given then match the sound much better.
        by_trend, given = (TimeConversion(1.0, s, certain=False) for s in (self._trend.delay_s(self._commits), 0.0))
        is_small = abs(by_trend.shift_s) <= MAX_INEXACT_S
        is_given = is_small and _cost(times, sound) < _cost(convert(times, by_trend), sound) * MAX_COST_RATIO
        return given if is_given else by_trend

    def _onto_sound(self, times: Times, near: TimeConversion, sound: VoicedRuns) -> TimeConversion | None:
        """Return a conversion that moves inexact times onto the sound near them, or None if there is no such sound.

        If there is sound near the words, their times are more likely inexact than in another unit or origin: times in
        another unit or origin can match any sound."""
        shifts = (_lateness(times, sound, s) for s in (near.shift_s, self._trend.search_s(self._commits)))
        moved = [TimeConversion(1.0, shift_s, certain=False) for shift_s in shifts if shift_s is not None]
        # The origin of the times is taken from the first commit, so the sound has to match the times of this commit.
        if not moved and (self._commits == 1 or _silent_share(convert(times, near), sound) > MAX_INEXACT_SILENT_SHARE):
            return None
        return min([near, *moved], key=lambda r: _cost(convert(times, r), sound))

    def _expected_s(self) -> float:
        """Extrapolate the shift of this commit from the last two measured shifts.

        Returns 0 if fewer than two shifts were measured, or if the shifts change too fast to be a drift. If several
        commits show a trend, the trend is used instead."""
        if self._trend.detected:
            return self._trend.delay_s(self._commits)
        if len(self._measured) < 2:
            return 0.0
        (first, begin_s), (last, end_s) = self._measured[-2], self._measured[-1]
        step_s = (end_s - begin_s) / (last - first)
        return end_s + step_s * (self._commits - last) if abs(step_s) <= MAX_STEP_S else 0.0

    def _is_steady(self) -> bool:
        """Whether the latest measured shifts show the same drift, or the same constant delay."""
        if self._trend.detected:
            return True
        steps = [(b - a) / (n - m) for (m, a), (n, b) in pairwise(self._measured)]
        return len(steps) == STEADY_STEPS and max(steps) - min(steps) <= MAX_TREND_SPREAD_S

    def _follows(self, shift_s: float) -> bool:
        """Whether the shift can have drifted from its last measured value to `shift_s`."""
        number, last_s = self._measured[-1]
        return abs(shift_s - last_s) <= MAX_STEP_S * (self._commits - number)

    def _remember(self, conversion: TimeConversion, sound: VoicedRuns) -> None:
        if sound and (conversion.certain or not (conversion.shift_s or self._trend.detected)):
            self._measured.append((self._commits, conversion.shift_s))

    # -- other units and origins -----------------------------------------------------------------------------------

    def _other_form(self, times: Times, sound: VoicedRuns, after_s: float, sent_s: float) -> TimeConversion | None:
        """Find a conversion with another unit or another origin, or return None if no conversion fits the sound."""
        found: list[tuple[float, TimeConversion]] = []
        for unit, scaled in in_plausible_units(times):
            length_s = scaled[-1][1] - scaled[0][0]
            if length_s > sent_s - after_s + MAX_OUTSIDE_S:
                continue
            # First another unit with the start of the session as its origin, then any origin at which the first word
            # begins with sound.
            whole = TimeConversion(unit, 0.0, certain=False)
            if unit != 1.0 and _mostly_inside(scaled, after_s, sent_s):
                if not sound:
                    return whole
                if (cost := _cost(scaled, sound)) <= MAX_ACCEPTED_COST:
                    found.append((cost, whole))
            for shift_s in self._starts(scaled, sound):
                conversion = TimeConversion(unit, shift_s, certain=True)
                placed = convert(times, conversion)
                cost = _cost(placed, sound)
                if cost <= MAX_LIKELY_COST and _mostly_inside(placed, after_s, sent_s):
                    found.append((cost, _aligned(times, sound, conversion) or conversion))
            if found:
                least = min(cost for cost, _ in found)
                if found[0][1].shift_s == 0.0 and found[0][0] <= least + MAX_LIKELY_COST / 2:
                    return found[0][1]
                # Commits arrive in order. So if several shifts have about the same cost, the one to the earliest sound
                # (the largest shift) is right.
                return max((r for cost, r in found if cost <= least + MAX_EDGE_ERROR_S * 2), key=lambda r: r.shift_s)
        return None

    def _is_copy(
        self, placed: Times, far: TimeConversion | None, times: Times, audio: CommitAudio, repeated_s: float
    ) -> bool:
        """Whether the word times of a commit that repeats earlier text are copies of the earlier times.

        Otherwise they are times of the commit itself, in another unit or from another origin than expected. `placed`:
        the times of the commit, converted with the expected unit and origin. `far`: the best conversion with another
        unit or origin, or None."""
        sound = audio.sound
        moved = convert(times, far) if far is not None else []
        fits = (
            bool(moved and sound.onsets)
            and abs(moved[0][0] - sound.onsets[0]) <= MAX_EDGE_ERROR_S
            and _cost(moved, sound) <= MAX_CERTAIN_COST / 2
        )
        # Above real time, this sound may belong to a later commit. Only words that match it in their rhythm are
        # evidence, and a few words have no rhythm.
        if self._relative:
            return not (fits or audio.bounded)
        if not _mostly_inside(placed, repeated_s, audio.sent_s):
            return False
        return self._relative is False or not fits or (len(times) < MIN_RHYTHM_WORDS and not audio.bounded)

    def _starts(self, scaled: Times, sound: VoicedRuns) -> Iterator[float]:
        """Yield the shifts that move the first word to an onset of sound. The number is limited to bound the work."""
        for onset in sound.onsets[:MAX_ONSETS]:
            yield scaled[0][0] - onset


def convert(times: Times, conversion: TimeConversion) -> Times:
    """Convert times of the service to seconds since the start of the session."""
    unit, shift_s = conversion.unit, conversion.shift_s
    return [(start * unit - shift_s, end * unit - shift_s) for start, end in times]


def fits(times: Times, sound: VoicedRuns) -> bool:
    """Whether words at these times of the session certainly match the sound."""
    return bool(sound) and _cost(times, sound) <= MAX_CERTAIN_COST


def _mostly_inside(times: Times, after_s: float, sent_s: float) -> bool:
    """Whether most words are within the audio sent since the previous commit."""
    outside = sum(end < after_s or start < -MAX_OUTSIDE_S or start > sent_s + MAX_OUTSIDE_S for start, end in times)
    return outside * 2 < len(times)


def _cost(times: Times, sound: VoicedRuns) -> float:
    """Return how badly times and sound match: the seconds of mismatch divided by the total duration of the words.

    A perfect match costs 0. Three things are a mismatch: silence within words, sound directly before the first word,
    and sound directly after the last word. Sound between words is no mismatch, because recognizers make words too
    short."""
    words = _lengthened(times)
    first, last = words[0][0], words[-1][1]
    around_s = sound.voiced_s(first - SURROUNDING_S, first) + sound.voiced_s(last, last + SURROUNDING_S)
    silent_s, total_s = _silent_s(words, sound)
    return silent_s / total_s + around_s / total_s


def _silent_share(times: Times, sound: VoicedRuns) -> float:
    """Return the share (0 to 1) of the duration of the words that is silence."""
    silent_s, total_s = _silent_s(_lengthened(times), sound)
    return silent_s / total_s


def _silent_s(words: Times, sound: VoicedRuns) -> tuple[float, float]:
    """Return the seconds of silence within the words, and the total duration of the words."""
    voiced_s = sound.voiced_s
    return sum([end - start - voiced_s(start, end) for start, end in words]), sum([end - start for start, end in words])


def _lengthened(times: Times) -> Times:
    """Return the times with a minimum duration of each word."""
    return [(start, max(end, start + MAX_EDGE_ERROR_S)) for start, end in times]


def _fits_noise(times: Times, sound: VoicedRuns) -> bool:
    """Whether the recording is noisy and its sound covers (almost) all of the words.
    Sound around the words may then be a burst of noise, which is not a reason to move the words."""
    return sound.noisy and _silent_share(times, sound) <= MAX_SILENT_SHARE


def _is_near_sound(times: Times, sound: VoicedRuns) -> bool:
    """Whether words match the sound, if inexact word times are allowed. Used for words whose cost (see `_cost`) is
    high.

    For a few short words, an ordinary error of their edges is most of their duration, so the cost says little."""
    if _fits_noise(times, sound):
        return True
    mismatch_s = _cost(times, sound) * sum(end - start for start, end in _lengthened(times))
    return _silent_share(times, sound) <= MAX_INEXACT_SILENT_SHARE and mismatch_s <= MAX_INEXACT_S


def _shifts(times: Times, sound: VoicedRuns, expected_s: float) -> Iterator[float]:
    """Yield shifts near the expected one that move the first word to an onset, or the last word to an end of sound."""
    first, last = times[0][0] - expected_s, times[-1][1] - expected_s
    for edge, edges in ((first, sound.onsets), (last, sound.ends)):
        for at in edges[bisect_left(edges, edge - SEARCH_RADIUS_S) : bisect_right(edges, edge + SEARCH_RADIUS_S)]:
            yield expected_s + edge - at


def _aligned(times: Times, sound: VoicedRuns, conversion: TimeConversion) -> TimeConversion | None:
    """Return the conversion with a more exact shift.

    Returns None if the first word does not begin at an onset of sound, or if the last word does not end at an end of
    sound."""
    placed = convert(times, conversion)
    starts = [d for start, _ in placed if (d := _to_edge(start, sound.onsets)) is not None]
    ends = [d for _, end in placed if (d := _to_edge(end, sound.ends)) is not None]
    first, last = _to_edge(placed[0][0], sound.onsets), _to_edge(placed[-1][1], sound.ends)
    if first is None or last is None or abs(first - last) > MAX_EDGE_ERROR_S * 1.5:
        return None
    # Onsets are measured up to 10 ms too early and ends up to 10 ms too late, so these errors cancel out in the mean.
    off_s = (sum(starts) / len(starts) + sum(ends) / len(ends)) / 2
    return TimeConversion(conversion.unit, conversion.shift_s + off_s, certain=True)


def _lateness(times: Times, sound: VoicedRuns, expected_s: float) -> float | None:
    """Estimate by how many seconds the times of a commit are too late. Returns None if no sound starts or ends near the
    words.

    The estimate is the mean of two errors: that of the start of the first word, and that of the end of the last word.
    The mean is used because sound begins about as long before the words as it ends after them."""
    first, last = times[0][0] - expected_s, times[-1][1] - expected_s
    onset, end = sound.phrase_onset_s(first, MIN_PAUSE_S), sound.phrase_end_s(last, MIN_PAUSE_S)
    if onset is None or end is None or abs(first - onset) > SEARCH_RADIUS_S or abs(last - end) > SEARCH_RADIUS_S:
        return None
    return expected_s + (first - onset + last - end) / 2


def _to_edge(at: float, edges: Sequence[float]) -> float | None:
    """Return the signed seconds from the nearest of the sorted `edges` to `at`, or None if no edge is near."""
    index = bisect_left(edges, at)
    offs = [at - edge for edge in edges[max(0, index - 1) : index + 1]]
    nearest = min(offs, key=abs, default=None)
    return nearest if nearest is not None and abs(nearest) <= MAX_EDGE_ERROR_S * 1.5 else None
