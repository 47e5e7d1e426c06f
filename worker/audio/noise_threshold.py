"""The level that separates sound from the steady noise of a block. No I/O."""

from __future__ import annotations

from typing import Final, NamedTuple

SAME_DB: Final = 2.0
"""Steady stretches count as noise if their mean level is at most this far above that of the quietest stretch. The noise
of two blocks is the same if their floors differ by at most this much."""


class Threshold(NamedTuple):
    """The levels in dBFS that define a run of foreground. A run lasts while the level is at least `edge_db`, and
    reaches `onset_db` at least once."""

    onset_db: float
    edge_db: float
    floor_db: float
    loud_db: float
    """Level of the loud sound with which the floor was compared."""

    @property
    def known(self) -> bool:
        return self.onset_db > ALL_FOREGROUND.onset_db

    def inherits(self, neighbour: Threshold) -> bool:
        """Whether this block, which has no loud sound, has the same noise as a `neighbour` whose floor is known."""
        return not self.known and neighbour.known and abs(self.floor_db - neighbour.floor_db) <= SAME_DB


ALL_FOREGROUND: Final = Threshold(-1000.0, -1000.0, -1000.0, -1000.0)
"""The threshold of blocks whose noise floor is unknown: every level is above it. If only loud sound is missing there,
`floor_db` is that of the steady noise."""
