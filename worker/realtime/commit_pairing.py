"""Pairs the committed messages that contain the same speech. No I/O.

With word times on, the service commits each segment of speech in two messages: a plain message, and a timed message
with word times. The two messages arrive in either order, up to ten seconds apart. They are paired by order, time and
text. The service may send only the plain message, and sometimes it repeats a message. Speakers also repeat themselves,
so a message is never dropped only because its text equals an earlier text.

Whether the service or the speaker repeated a text can only be decided with the audio: with `drop_repeats=False` the
pairer returns such messages, and `worker.transcript.assemble` decides. With `drop_repeats=True` the pairer drops plain
messages that repeat a timed message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from worker.realtime.messages import Committed, Partial, WireWord
from worker.realtime.text_match import copies, letters, same_letters, same_once, same_text
from worker.recent_items import RecentItems

# The timed message was seen 1.5 s and more after the plain one.
HOLD_S: Final = 4.0
"""Seconds that a plain message waits for the timed message while the delays of the service are unknown."""
MAX_HOLD_S: Final = 12.0
"""Maximum wait for the timed message, in seconds, whatever the observed delays are."""
LAG_FACTOR: Final = 1.5
LAG_MARGIN_S: Final = 0.5
"""The wait is the longest recent delay times LAG_FACTOR, plus this margin (seconds): delays grow and vary."""
SPEAKING_S: Final = 1.0
"""Maximum seconds between two messages of the service that count as waiting for a timed message. A working service
sends a text about every second while somebody speaks. A longer silence means that the service or this process was
interrupted, so the timed message could not arrive."""
PAIR_WITHIN_S: Final = 60.0
"""Maximum time, in seconds, between the plain and the timed message of the same speech. It is long because a busy
client may read late. A wrong pair does no harm: each commit takes at most one plain and one timed message, so the
number of commits is right in any case."""
REPEAT_WITHIN_S: Final = 3.0
"""An unpaired plain message that arrives at most so many seconds after a timed message of the same text may be a
repetition."""
REPEAT_HOLD_S: Final = 1.2
"""Seconds that such a possible repetition waits before the pairer drops it."""
BURST_S: Final = 0.3
"""An unpaired plain message that arrives at most so many seconds after a commit of the same text, with no new partial
text in between, is a repetition."""
ALONE_BEFORE_TRUST: Final = 3
"""After so many plain messages in a row whose timed message did not come, the service counts as one without word times,
and plain messages no longer wait."""
SAME_TIME_S: Final = 0.05
"""Maximum difference, in seconds, of word starts that count as equal."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One segment of committed speech. Word times are seconds since the start of the session, as the service sent
    them."""

    text: str
    words: tuple[WireWord, ...]
    language: str | None
    sent: int
    """Samples of the session that were sent before its first message arrived."""
    before_s: float | None = None
    """Start of the next commit's first word, in seconds since the start of the session, if the start was known when
    this commit was released."""
    arrived: float = 0.0
    """Clock time at which its first message arrived."""


@dataclass(slots=True)
class _PendingCommit:
    """A commit for which one message or both messages have arrived."""

    text: str
    arrived: float
    sent: int
    has_plain: bool
    has_timed: bool
    silent_before_s: float = 0.0  # the pairer's `_silent_s` on arrival
    words: tuple[WireWord, ...] = ()
    language: str | None = None
    has_new_text_before: bool = field(default=False)  # new partial text arrived after the previous commit


class CommitPairer:
    """Converts committed messages to commits, both in order of arrival. Times are seconds of a monotonic clock.

    `drop_repeats`: drop repeated messages here, for callers without audio to compare them with.
    """

    def __init__(self, hold_s: float = HOLD_S, *, drop_repeats: bool = True) -> None:
        self._first_hold_s = hold_s
        self._drops = drop_repeats
        self._waiting: list[_PendingCommit] = []
        # The number is limited: a message is paired only with recent commits, and a session may have thousands.
        self._released: RecentItems[_PendingCommit] = RecentItems(64)
        self._lags: RecentItems[float] = RecentItems(8)  # recent delays between plain and timed message
        self._alone = 0  # plain messages in a row whose timed message did not come in time
        self._alone_since = float("-inf")  # when the last of these was released
        self._timed_seen = False
        self._heard_at: float | None = None  # when the last message of any kind arrived
        self._silent_s = 0.0  # seconds between messages that do not count as waiting
        self._spoke = False  # new partial text arrived after the last commit

    @property
    def deadline(self) -> float | None:
        """Clock time at which `release` returns the next commit, or None if no commit waits."""
        return self._due(self._waiting[0]) if self._waiting else None

    @property
    def hold_s(self) -> float:
        """Seconds that a plain message currently waits for its timed message."""
        if self._alone >= ALONE_BEFORE_TRUST:
            return 0.0
        if not self._lags:
            return self._first_hold_s
        return min(MAX_HOLD_S, max(HOLD_S, max(self._lags) * LAG_FACTOR + LAG_MARGIN_S))

    def announced(self, *, timestamps: bool) -> None:
        """Note whether the service announced word times."""
        self._first_hold_s = MAX_HOLD_S if timestamps else HOLD_S

    def heard(self, now: float) -> None:
        """Note that a message of any kind has arrived. Call this before the other methods."""
        if self._heard_at is not None:
            self._silent_s += max(0.0, now - self._heard_at - SPEAKING_S)
        self._heard_at = now

    def note_partial(self, partial: Partial) -> None:
        """Note a partial. It shows that speech continues, unless its text repeats the last commit."""
        if partial.text.strip() and not (self._newest and same_text(self._newest.text, partial.text)):
            self._spoke = True

    def feed(self, message: Committed, now: float, sent: int) -> list[Commit]:
        """Add a committed message. `sent`: samples sent so far. Returns the commits that are released now."""
        if message.text.strip():
            if message.timed:
                # Some services never send word times. So a plain message without its timed message is treated as a
                # repetition only if the session has sent a timed message before.
                self._timed_seen = True
                self._take_timed(message, now, sent)
            else:
                self._take_plain(message, now, sent)
        return self.release(now)

    def release(self, now: float, *, everything: bool = False) -> list[Commit]:
        """Return the commits that have word times or have waited long enough. With `everything`, return all waiting
        commits."""
        commits = []
        while self._waiting and (everything or now >= self._due(self._waiting[0])):
            entry = self._waiting.pop(0)
            if not entry.has_timed:
                if self._is_burst(entry) or (self._drops and self._repeats_timed(entry)):
                    continue
                # Messages that waited at the same time are treated as one message.
                if entry.arrived >= self._alone_since:
                    self._alone += 1
                    self._alone_since = now
                    # Wait less from now on, even if the service announced word times.
                    self._first_hold_s = min(self._first_hold_s, HOLD_S)
            self._released.append(entry)
            text, next_s = entry.text.strip(), self._next_start_s()
            commits.append(Commit(text, entry.words, entry.language, entry.sent, next_s, entry.arrived))
            # With `drop_repeats`, later messages are compared with the words.
            if not self._drops:
                entry.words = ()
        return commits

    def _due(self, entry: _PendingCommit) -> float:
        """Return the clock time at which `entry`, the first of the waiting commits, is released."""
        if entry.has_timed:
            return entry.arrived
        due = self._waited_enough(entry)
        if self._drops:
            return min(due, entry.arrived + REPEAT_HOLD_S) if self._repeats_timed(entry) else due
        # A possible repetition waits for the next commit, whose start shows whether there was time to speak this text
        # before it.
        if self._next_start_s(1) is None and self._repeats_last(entry):
            due = max(due, entry.arrived + REPEAT_WITHIN_S)
        return due

    def _waited_enough(self, entry: _PendingCommit) -> float:
        """Return the clock time at which a plain message has waited `hold_s` seconds for its timed message, without
        the time in which the service was silent."""
        hold_s, latest = self.hold_s, entry.arrived + MAX_HOLD_S
        # A service without word times says nothing in a pause of the speech either.
        if self._heard_at is None or not self._timed_seen or not hold_s:
            return entry.arrived + hold_s
        due = entry.arrived + hold_s + self._silent_s - entry.silent_before_s
        return min(latest, due) if due <= self._heard_at + SPEAKING_S else latest

    def _next_start_s(self, index: int = 0) -> float | None:
        later = (w.start for e in self._waiting[index:] for w in e.words if w.start is not None)
        return next(later, None)

    @property
    def _newest(self) -> _PendingCommit | None:
        if self._waiting:
            return self._waiting[-1]
        return self._released[-1] if self._released else None

    def _twin(self, text: str, now: float, lacks: Callable[[_PendingCommit], bool]) -> _PendingCommit | None:
        """Return the commit that a new message with `text` completes. This is the commit whose text matches best; of
        several equally good ones, the oldest.

        `lacks`: returns whether a commit still lacks a message of the same kind (plain or timed) as the new message."""
        entries = [e for e in (*self._released, *self._waiting) if now - e.arrived <= PAIR_WITHIN_S and lacks(e)]
        # Entries older than the longest wait are tried last, because their second message will probably not arrive any
        # more.
        late_last = sorted(entries, key=lambda e: now - e.arrived > MAX_HOLD_S)
        for same in (same_text, same_letters, same_once):
            for entry in late_last:
                if same(entry.text, text):
                    return entry
        return None

    def _take_timed(self, message: Committed, now: float, sent: int) -> None:
        # Equal words at equal times are the same speech. The time of their arrival does not matter.
        if self._drops and any(same_times(e.words, message.words) for e in (*self._released, *self._waiting)):
            return
        entry = self._twin(message.text, now, lambda e: not e.has_timed)
        self._alone = 0
        if entry is None:
            self._append(message, now, sent)
            return
        self._lags.append(now - entry.arrived)
        entry.has_timed, entry.language = True, message.language
        if self._drops or any(waiting is entry for waiting in self._waiting):
            entry.words = message.words
        # The two messages may contain the text a different number of times: keep the text with more copies.
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
                silent_before_s=self._silent_s,
                words=message.words,
                language=message.language,
                has_new_text_before=self._spoke,
            )
        )
        self._spoke = False

    def _repeats_timed(self, entry: _PendingCommit) -> bool:
        """Whether a plain message repeats the text of a timed message that arrived shortly before it."""
        return self._timed_seen and any(
            before.has_timed
            and same_letters(before.text, entry.text)
            and entry.arrived - before.arrived <= REPEAT_WITHIN_S
            for before in self._released
        )

    def _repeats_last(self, entry: _PendingCommit) -> bool:
        """Whether a message without word times repeats text of the previous commit. Only possible if the service has
        sent word times before in this session."""
        plain = letters(entry.text)
        return bool(plain and self._timed_seen and self._released and plain in letters(self._released[-1].text))

    def _is_burst(self, entry: _PendingCommit) -> bool:
        if not self._drops or not self._released or entry.has_new_text_before:
            return False
        last = self._released[-1]
        return same_text(last.text, entry.text) and entry.arrived - last.arrived <= BURST_S


def same_times(one: tuple[WireWord, ...], other: tuple[WireWord, ...]) -> bool:
    """Whether two lists have equal words at equal session times, so one message repeats the other. Lists in which no
    word has a duration never match, because their times are invalid."""
    if not one or len(one) != len(other) or not any((w.end or 0.0) > (w.start or 0.0) for w in one):
        return False
    return all(
        a.text == b.text and a.start is not None and b.start is not None and abs(a.start - b.start) <= SAME_TIME_S
        for a, b in zip(one, other, strict=True)
    )
