"""Which committed messages are one and the same piece of speech (pure).

The service sends a stretch of speech twice when timestamps are on, plain and with word times, in either order, up to a
second apart; it may send the plain form alone; it sometimes repeats a message. People repeat themselves too, so equal
text alone never drops anything: the forms are paired by order and time, and a message is a repetition only when it has
the same word times, or when a plain one follows its twin faster than anyone could speak.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from worker.realtime.messages import Committed, Partial, WireWord

HOLD_S: Final = 1.2
"""How long a plain commit waits for its twin with word times."""
PAIR_WITHIN_S: Final = 60.0
"""Two forms that arrive further apart are not the same speech. Generous, because a busy client may read late, and
harmless: with both forms on, each commit takes one of each, so the number stays right whichever are paired."""
REPEAT_WITHIN_S: Final = 3.0
"""A plain form that stays alone this soon after its timed twin is the service's repetition."""
BURST_S: Final = 0.3
"""A plain twin that follows this fast, with nothing in between, is the service's repetition."""
ALONE_BEFORE_TRUST: Final = 3
"""So many plain commits without a twin, and the service is taken to send no word times: nothing waits any longer."""
SAME_TIME_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Commit:
    """One piece of committed speech, each exactly once. Word times are session seconds."""

    text: str
    words: tuple[WireWord, ...]
    language: str | None
    sent: int
    """Samples of the session that had been sent when it arrived."""


@dataclass(slots=True)
class _Entry:
    text: str
    arrived: float
    sent: int
    has_plain: bool
    has_timed: bool
    words: tuple[WireWord, ...] = ()
    language: str | None = None
    spoke_before: bool = field(default=False)  # new partial text came between this and the commit before it


class Pairer:
    """Feed it every committed message in order of arrival; it gives back commits in order. Times: clock seconds."""

    def __init__(self, hold_s: float = HOLD_S) -> None:
        self._hold_s = hold_s
        self._waiting: deque[_Entry] = deque()
        self._released: deque[_Entry] = deque(maxlen=64)
        self._alone = 0
        self._timed_seen = False
        self._spoke = False

    @property
    def deadline(self) -> float | None:
        """Clock time at which `release` has something to give, None when nothing waits."""
        return self._waiting[0].arrived + self._hold if self._waiting else None

    @property
    def _hold(self) -> float:
        return 0.0 if self._alone >= ALONE_BEFORE_TRUST else self._hold_s

    def heard(self, partial: Partial) -> None:
        """A partial came: speech went on, unless it only repeats the last commit."""
        if partial.text.strip() and not (self._newest and same_text(self._newest.text, partial.text)):
            self._spoke = True

    def feed(self, message: Committed, now: float, sent: int) -> list[Commit]:
        """Take one committed message; `sent` is the number of samples sent so far. Returns what is settled now."""
        if message.text.strip():
            if message.timed:
                self._timed_seen = True
                self._take_timed(message, now, sent)
            else:
                self._take_plain(message, now, sent)
        return self.release(now)

    def release(self, now: float, *, everything: bool = False) -> list[Commit]:
        """Commits that are complete or waited long enough; with `everything`, all that wait."""
        commits = []
        while self._waiting:
            entry = self._waiting[0]
            if not (entry.has_timed or everything or now >= entry.arrived + self._hold):
                break
            self._waiting.popleft()
            if not entry.has_timed:
                if self._is_repetition(entry):
                    continue
                self._alone += 1
            self._released.append(entry)
            commits.append(Commit(entry.text.strip(), entry.words, entry.language, entry.sent))
        return commits

    @property
    def _newest(self) -> _Entry | None:
        if self._waiting:
            return self._waiting[-1]
        return self._released[-1] if self._released else None

    def _recent(self, text: str, now: float) -> list[_Entry]:
        entries = [*self._released, *self._waiting]
        return [e for e in entries if now - e.arrived <= PAIR_WITHIN_S and same_text(e.text, text)]

    def _take_timed(self, message: Committed, now: float, sent: int) -> None:
        recent = self._recent(message.text, now)
        # The same words at the same times are the same speech, however long ago they came.
        if any(same_times(e.words, message.words) for e in (*self._released, *self._waiting) if e.words):
            return
        for entry in recent:
            if not entry.has_timed:
                entry.has_timed, entry.words, entry.language = True, message.words, message.language
                entry.text = message.text
                if entry in self._released:  # too late for its times, but the service does send them: wait again
                    self._alone = 0
                return
        self._append(message, now, sent)
        self._alone = 0

    def _take_plain(self, message: Committed, now: float, sent: int) -> None:
        for entry in self._recent(message.text, now):
            if not entry.has_plain:
                entry.has_plain = True
                return
        self._append(message, now, sent)

    def _append(self, message: Committed, now: float, sent: int) -> None:
        self._waiting.append(
            _Entry(
                text=message.text,
                arrived=now,
                sent=sent,
                has_plain=not message.timed,
                has_timed=message.timed,
                words=message.words,
                language=message.language,
                spoke_before=self._spoke,
            )
        )
        self._spoke = False

    def _is_repetition(self, entry: _Entry) -> bool:
        """A plain form without a twin, soon after a commit of the same text."""
        if self._timed_seen and any(
            before.has_timed
            and same_text(before.text, entry.text)
            and entry.arrived - before.arrived <= REPEAT_WITHIN_S
            for before in self._released
        ):
            return True  # every real commit of this service has word times; this one never got any
        if not self._released or entry.spoke_before:
            return False
        last = self._released[-1]
        return same_text(last.text, entry.text) and entry.arrived - last.arrived <= BURST_S


def same_text(one: str, other: str) -> bool:
    """Equal but for white space at the ends."""
    return one.strip() == other.strip()


def same_times(one: tuple[WireWord, ...], other: tuple[WireWord, ...]) -> bool:
    """The same words at the same session times: the same speech, sent again."""
    if not one or len(one) != len(other):
        return False
    return all(
        a.text == b.text and a.start is not None and b.start is not None and abs(a.start - b.start) <= SAME_TIME_S
        for a, b in zip(one, other, strict=True)
    )
