"""Follows the delay of a service's word times over the commits of a session. No I/O.

The times of services have been seen to drift by about 0.1 s per commit. Where sound continues around the words, or the
times are inexact, a single commit does not show its delay well enough. A line through the delays of several commits
does.
"""

from __future__ import annotations

from itertools import combinations
from statistics import median
from typing import Final

from worker.recent_items import RecentItems

MIN_COMMITS: Final = 5
"""Minimum number of commits in which a drift is detected."""
MIN_COMMITS_TO_FOLLOW: Final = 3
"""Minimum number of commits for a line through their delays."""
MAX_COMMITS: Final = 8
"""Number of latest commits that the line is fitted to."""
MIN_STEP_S: Final = 0.06
"""Minimum change of the delay per commit in a drift. Errors of 0.12 s at each edge of a word change the slope of five
commits by less than this."""
MAX_STEP_S: Final = 0.35
"""Maximum change of the delay from one commit to the next, in a drift."""
MAX_DEVIATION_S: Final = 0.12
"""Maximum median distance of the measured delays from the line."""
MAX_BIAS_S: Final = 0.25
"""Maximum systematic error of the measured delays, from sound that continues longer after the words than before."""


class DelayTrend:
    """The measured delays of the latest commits of a session, and the drift that they show."""

    def __init__(self) -> None:
        self._delays: RecentItems[tuple[int, float]] = RecentItems(MAX_COMMITS)  # commit number, seconds
        # Systematic error of the delays: their value when the drift began. It is None until a drift is detected.
        self._bias_s: float | None = None

    @property
    def detected(self) -> bool:
        """Whether a drift was detected in this session."""
        return self._bias_s is not None

    def add(self, number: int, delay_s: float) -> None:
        """Add the delay that was measured at commit `number`. The numbers of successive calls must rise."""
        self._delays.append((number, delay_s))
        if self.detected or len(self._delays) < MIN_COMMITS:
            return
        slope, middle_s = self._line()
        deviation_s = median(abs(s - middle_s - slope * n) for n, s in self._delays)
        if MIN_STEP_S <= abs(slope) <= MAX_STEP_S and deviation_s <= MAX_DEVIATION_S:
            begin_s = middle_s + slope * self._delays[0][0]
            self._bias_s = begin_s if abs(begin_s) <= MAX_BIAS_S else 0.0

    def delay_s(self, number: int) -> float:
        """Return the delay of commit `number` according to the line through the measured delays. Returns 0 if no drift
        was detected."""
        if self._bias_s is None:
            return 0.0
        slope, middle_s = self._line()
        return middle_s + slope * number - self._bias_s

    def search_s(self, number: int) -> float:
        """Return the delay around which the delay of commit `number` is searched. It includes the systematic error of
        the delays (the bias).

        The result follows a possible drift before the drift is certain, so that the delay stays within the search
        radius."""
        if len(self._delays) < MIN_COMMITS_TO_FOLLOW:
            return self._delays[-1][1] if self._delays else 0.0
        slope, middle_s = self._line()
        return middle_s + slope * number

    def _line(self) -> tuple[float, float]:
        """Return the slope and the value at commit 0 of the line through the delays (Theil-Sen estimator)."""
        slope = median((b - a) / (n - m) for (m, a), (n, b) in combinations(self._delays, 2))
        return slope, median(s - slope * n for n, s in self._delays)
