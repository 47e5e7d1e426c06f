"""Pairs the committed messages that stand for one stretch of speech (pure).

The service sends a stretch of speech twice when timestamps are on, plain and with word times, in either order, up to
ten seconds apart; it may send the plain form alone; it sometimes repeats a message. People repeat themselves too, so
equal text alone never drops anything. The forms are paired by order, time and text. The decision about a message that
repeats an earlier one needs the sound of the recording: with `drop_repeats=False` the pairer passes it on, and the
assembler decides. Only a plain message that repeats its twin faster than anyone can speak is dropped here in any case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from worker.realtime.messages import Committed, Partial, WireWord
from worker.realtime.text_match import copies, letters, same_letters, same_once, same_text

HOLD_S: Final = 4.0
"""Wait of a plain commit for its word times while the lags of the service are unknown."""
MAX_HOLD_S: Final = 12.0
"""Longest wait for word times, however late the last ones came."""
LAG_FACTOR: Final = 1.5
LAG_MARGIN_S: Final = 0.5
"""The wait is the longest recent lag times the factor, plus the margin: lags grow and jitter."""
PAIR_WITHIN_S: Final = 60.0
"""Two forms that arrive further apart are not the same speech. Generous, because a busy client may read late, and
harmless: with both forms on, each commit takes one of each, so the number stays right whichever are paired."""
REPEAT_WITHIN_S: Final = 3.0
"""A plain form that stays alone this soon after its timed twin may be the service's repetition."""
REPEAT_HOLD_S: Final = 1.2
"""Wait of such a form where the pairer drops it."""
BURST_S: Final = 0.3
"""A plain twin that follows this fast, with nothing in between, is the service's repetition."""
ALONE_BEFORE_TRUST: Final = 3
"""After this many waits without word times, the service counts as one without them, and commits no longer wait."""
SAME_TIME_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Commit:
    """One piece of committed speech. Word times are session seconds as the service sent them."""

    text: str
    words: tuple[WireWord, ...]
    language: str | None
    sent: int
    """Samples of the session that had been sent when it arrived."""
    before_s: float | None = None
    """Start of the next commit's first word, if it was known when this commit was settled."""


@dataclass(slots=True)
class _PendingCommit:
    text: str
    arrived: float
    sent: int
    has_plain: bool
    has_timed: bool
    words: tuple[WireWord, ...] = ()
    language: str | None = None
    spoke_before: bool = field(default=False)  # new partial text came between this and the commit before it


class CommitPairer:
    """Turns committed messages, fed in order of arrival, into commits in order. Times: clock seconds.

    `drop_repeats`: drop repeated messages here, for callers that have no sound to compare them with.
    """

    def __init__(self, hold_s: float = HOLD_S, *, drop_repeats: bool = True) -> None:
        self._first_hold_s = hold_s
        self._drops = drop_repeats
        self._waiting: deque[_PendingCommit] = deque()
        self._released: deque[_PendingCommit] = deque(maxlen=64)
        self._lags: deque[float] = deque(maxlen=8)
        self._alone = 0
        self._alone_since = float("-inf")  # when the last wait in vain ended
        self._timed_seen = False
        self._spoke = False

    @property
    def deadline(self) -> float | None:
        """Clock time at which `release` has something to give, None when nothing waits."""
        return self._due(self._waiting[0]) if self._waiting else None

    @property
    def hold_s(self) -> float:
        """How long a plain commit waits for its word times now."""
        if self._alone >= ALONE_BEFORE_TRUST:
            return 0.0
        if not self._lags:
            return self._first_hold_s
        return min(MAX_HOLD_S, max(HOLD_S, max(self._lags) * LAG_FACTOR + LAG_MARGIN_S))

    def announced(self, *, timestamps: bool) -> None:
        """The service says whether it sends word times."""
        self._first_hold_s = MAX_HOLD_S if timestamps else HOLD_S

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
        while self._waiting and (everything or now >= self._due(self._waiting[0])):
            entry = self._waiting.popleft()
            if not entry.has_timed:
                if self._is_burst(entry) or (self._drops and self._repeats_timed(entry)):
                    continue
                if entry.arrived >= self._alone_since:  # simultaneous waits count as one
                    self._alone += 1
                    self._alone_since = now
                    self._first_hold_s = min(self._first_hold_s, HOLD_S)  # whatever it announced
            self._released.append(entry)
            commits.append(
                Commit(entry.text.strip(), entry.words, entry.language, entry.sent, self._next_start_s())
            )  # fmt: skip
        return commits

    def _due(self, entry: _PendingCommit) -> float:
        """Clock time at which an entry at the head of the queue is settled."""
        if entry.has_timed:
            return entry.arrived
        due = entry.arrived + self.hold_s
        if self._drops:
            return min(due, entry.arrived + REPEAT_HOLD_S) if self._repeats_timed(entry) else due
        # The next commit's times show whether there was room for this one.
        if self._next_start_s(1) is None and self._repeats_last(entry):
            due = max(due, entry.arrived + REPEAT_WITHIN_S)
        return due

    def _next_start_s(self, index: int = 0) -> float | None:
        later = (w.start for e in list(self._waiting)[index:] for w in e.words if w.start is not None)
        return next(later, None)

    @property
    def _newest(self) -> _PendingCommit | None:
        if self._waiting:
            return self._waiting[-1]
        return self._released[-1] if self._released else None

    def _twin(self, text: str, now: float, lacks: Callable[[_PendingCommit], bool]) -> _PendingCommit | None:
        """The entry that lacks this form of the text: the oldest of those whose text fits best."""
        entries = [e for e in (*self._released, *self._waiting) if now - e.arrived <= PAIR_WITHIN_S and lacks(e)]
        # A form that is later than any wait is no longer expected while a newer one is.
        late_last = sorted(entries, key=lambda e: now - e.arrived > MAX_HOLD_S)
        for same in (same_text, same_letters, same_once):
            for entry in late_last:
                if same(entry.text, text):
                    return entry
        return None

    def _take_timed(self, message: Committed, now: float, sent: int) -> None:
        # The same words at the same times are the same speech, however long ago they came.
        if self._drops and any(same_times(e.words, message.words) for e in (*self._released, *self._waiting)):
            return
        entry = self._twin(message.text, now, lambda e: not e.has_timed)
        self._alone = 0
        if entry is None:
            self._append(message, now, sent)
            return
        self._lags.append(now - entry.arrived)
        entry.has_timed, entry.words, entry.language = True, message.words, message.language
        if copies(message.text) >= copies(entry.text):
            entry.text = message.text

    def _take_plain(self, message: Committed, now: float, sent: int) -> None:
        entry = self._twin(message.text, now, lambda e: not e.has_plain)
        if entry is None:
            self._append(message, now, sent)
            return
        entry.has_plain = True
        if copies(message.text) > copies(entry.text) and entry in self._waiting:
            entry.text = message.text

    def _append(self, message: Committed, now: float, sent: int) -> None:
        self._waiting.append(
            _PendingCommit(
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

    def _repeats_timed(self, entry: _PendingCommit) -> bool:
        """A plain form without a twin, soon after a commit of the same text that had one."""
        return self._timed_seen and any(
            before.has_timed
            and same_letters(before.text, entry.text)
            and entry.arrived - before.arrived <= REPEAT_WITHIN_S
            for before in self._released
        )

    def _repeats_last(self, entry: _PendingCommit) -> bool:
        """A plain form of a service with word times that repeats the end of the commit before it."""
        plain = letters(entry.text)
        return bool(plain and self._timed_seen and self._released and plain in letters(self._released[-1].text))

    def _is_burst(self, entry: _PendingCommit) -> bool:
        if not self._drops or not self._released or entry.spoke_before:
            return False
        last = self._released[-1]
        return same_text(last.text, entry.text) and entry.arrived - last.arrived <= BURST_S


def same_times(one: tuple[WireWord, ...], other: tuple[WireWord, ...]) -> bool:
    """The same words at the same session times: the same speech, sent again. Unusable times never agree."""
    if not one or len(one) != len(other) or not any((w.end or 0.0) > (w.start or 0.0) for w in one):
        return False
    return all(
        a.text == b.text and a.start is not None and b.start is not None and abs(a.start - b.start) <= SAME_TIME_S
        for a, b in zip(one, other, strict=True)
    )
