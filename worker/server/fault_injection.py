"""Applies the configured faults (`worker.server.fault_options`) to sessions and handshakes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Final

from aiohttp import web

from worker.realtime import messages
from worker.server import auth
from worker.server.fault_injection_commits import phantoms, repeated_text, shifted
from worker.server.fault_options import Fault, FaultKind, FaultSchedule
from worker.server.recognition_engine import RecognitionEngine
from worker.server.session_limits import NORMAL, POLICY

Emit = Callable[[str, dict[str, Any] | None], Awaitable[None]]
_OVERFLOW_WINDOW_S: Final = 3.0  # with the fault OVERFLOW, a client may be this far ahead of the maximum speed
# The delay that was reported for repeated commits (phantoms) of the real service.
_PHANTOM_AFTER_S: Final = 0.4
# About 11 days, longer than any test.
NEVER_S: Final = 1e6
REFUSALS: Final[dict[int, str]] = {}
"""Reasons for which connections will be refused after the handshake. The keys are `id(request)` of the handshake's
request. The entry is removed when the connection is refused."""


class FaultEffect(Enum):
    """The effect of the faults that are due when a chunk of audio has arrived."""

    NOTHING = auto()
    RESET = auto()  # reset the TCP connection
    STOP_READING = auto()  # do not read the connection until the session is over
    END = auto()  # session-closed was sent; end the session


class FaultySession:
    """Applies faults to one session: changes its messages, or ends the session. `emit` sends a message to the client.
    `options`: the payload of the start-session message."""

    def __init__(self, faults: Sequence[Fault], emit: Emit, options: Mapping[str, Any]) -> None:
        self._faults = {fault.kind: fault for fault in faults}
        self._emit = emit
        self._options = options
        self._audio_s = 0.0
        self._started = time.monotonic()
        self._commits = 0
        self._plain: dict[str, Any] | None = None
        self._swapped: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._last_partial = ""
        self._repeated_s = 0.0
        self._late: set[asyncio.Task[None]] = set()
        self._over = False

    def has(self, kind: FaultKind) -> bool:
        return kind in self._faults

    def engine(self, engine: RecognitionEngine) -> RecognitionEngine:
        """Return the engine with the endpointing rules that the faults of this session demand."""
        rules = engine.rules
        pause, longest = self._faults.get(FaultKind.COMMIT_PAUSE), self._faults.get(FaultKind.LONGEST)
        if pause:
            rules = replace(rules, commit_silence_s=pause.number, early_after_s=NEVER_S)
        if longest:
            rules = replace(rules, max_segment_s=longest.number)
        return replace(engine, rules=rules)

    async def chunk(self, audio_s: float) -> FaultEffect:
        """Count `audio_s` seconds of received audio. Returns the effect of the faults that are due."""
        self._audio_s += audio_s
        await self._repeat_partial()
        if self._past(FaultKind.DROP):
            return FaultEffect.RESET
        if self._past(FaultKind.STOP_READING):
            return FaultEffect.STOP_READING
        if self._past(FaultKind.CLOSE):
            return await self._close()
        if self.has(FaultKind.REFUSE_OPTION) and self._faults[FaultKind.REFUSE_OPTION].value in self._options:
            return await self._close(POLICY, f"invalid_request: {self._faults[FaultKind.REFUSE_OPTION].value}")
        error = self._error(audio_s)
        if error is None:
            return FaultEffect.NOTHING
        return await self._fail(error, as_message=self.has(FaultKind.ERROR_MESSAGE))

    def _error(self, audio_s: float) -> str | None:
        """Return the name of the error that is due after a chunk of `audio_s` seconds, or None."""
        for kind in (FaultKind.ERROR, FaultKind.ERROR_MESSAGE):
            if kind in self._faults and self._audio_s > self._faults[kind].name_at[1]:
                return self._faults[kind].name_at[0]
        if self._past(FaultKind.TIME_LIMIT):
            return "session_time_limit_exceeded"
        if self.has(FaultKind.CHUNK_MAX) and audio_s > self._faults[FaultKind.CHUNK_MAX].number:
            return "chunk_size_exceeded"
        return "queue_overflow" if self.has(FaultKind.OVERFLOW) and self._too_fast() else None

    async def emit(self, event: str, payload: dict[str, Any] | None) -> None:
        """Change a message of the session as its faults demand, and send it. Some faults drop or delay it."""
        if self._over or self._past(FaultKind.MUTE) or self._past(FaultKind.STOP_READING):
            return  # a stuck service, which does not read (STOP_READING), does not send messages either
        if event == messages.CLOSED:
            if self._swapped:
                await self._send_forms(*self._swapped)
            # Clients ignore messages after session-closed, so delayed messages are sent before it.
            await asyncio.gather(*self._late)
            if payload and self.has(FaultKind.CLOSE_CODE):
                payload = {**payload, "code": int(self._faults[FaultKind.CLOSE_CODE].number)}
        if event != messages.TRANSCRIPT or payload is None:
            await self._emit(event, payload)
            return
        kind = payload["message_type"]
        if kind == messages.TYPE_COMMITTED:
            # Keep the plain message. The session sends the message with word times of the same commit next, and the
            # faults are applied to both together.
            self._plain = payload
        elif kind == messages.TYPE_COMMITTED_TIMED:
            await self._commit(self._plain or {}, payload)
        elif kind == messages.TYPE_STARTED:
            await self._emit(event, {**payload, "config": self._config(payload["config"])})
        elif kind == messages.TYPE_PARTIAL and self._deaf_at(self._audio_s):
            return
        elif kind == messages.TYPE_PARTIAL:
            # With NEVER_COMMIT, a partial without text does not clear the uncommitted text, so it is sent again.
            self._last_partial = payload["text"] or (self._last_partial if self.has(FaultKind.NEVER_COMMIT) else "")
            await self._emit(event, {**payload, "text": self._last_partial})
        else:
            await self._emit(event, payload)

    def _config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the session's configuration as a service with these faults states it."""
        if self.has(FaultKind.FORGET_TAIL):
            config = {k: v for k, v in config.items() if k != messages.FIELD_COMMIT_ON_STOP}
        if self.has(FaultKind.CONFIRM_OPTIONS):
            config = {**config, **{k: v for k, v in self._options.items() if k != "sampleRate"}}
        return {**config, "include_timestamps": False} if self.has(FaultKind.PLAIN_ONLY) else config

    def _deaf_at(self, second: float) -> bool:
        if not self.has(FaultKind.DEAF):
            return False
        start, end = self._faults[FaultKind.DEAF].span
        return start <= second < end

    async def _repeat_partial(self) -> None:
        """Repeat the last partial once per second while the fault DEAF suppresses the text of the audio."""
        if (
            self.has(FaultKind.REPEAT_PARTIAL)
            and self._deaf_at(self._audio_s)
            and self._audio_s >= self._repeated_s + 1
        ):
            self._repeated_s = self._audio_s
            await self._send({"message_type": messages.TYPE_PARTIAL, "text": self._last_partial})

    async def _send_without_deaf_words(self, plain: dict[str, Any], timed: dict[str, Any]) -> None:
        """Send a commit without the words that start while the fault DEAF suppresses text."""
        words = [w for w in timed.get("words") or () if not self._deaf_at(w["start"])]
        text = " ".join(w["text"] for w in words if w["type"] == "word")
        if text:
            await self._apply_commit_faults({**plain, "text": text}, {**timed, "text": text, "words": words})
        elif self.has(FaultKind.EMPTY_COMMITS):
            await self._send({**plain, "text": ""})
            await self._send({**timed, "text": "", "words": []})

    async def _commit(self, plain: dict[str, Any], timed: dict[str, Any]) -> None:
        if self.has(FaultKind.DEAF):
            await self._send_without_deaf_words(plain, timed)
        else:
            await self._apply_commit_faults(plain, timed)

    async def _apply_commit_faults(self, plain: dict[str, Any], timed: dict[str, Any]) -> None:
        """Apply all faults except DEAF to a commit, and send it. `plain`: the message of the commit without word times.
        `timed`: its message with word times."""
        if self.has(FaultKind.NEVER_COMMIT) and self._audio_s >= self._faults[FaultKind.NEVER_COMMIT].number:
            self._last_partial = timed["text"]
            await self._send({"message_type": messages.TYPE_PARTIAL, "text": timed["text"]})
            return
        timed = self._altered(timed)
        if self.has(FaultKind.TEXT_COPIES):
            plain, timed = (repeated_text(m, int(self._faults[FaultKind.TEXT_COPIES].number)) for m in (plain, timed))
        self._commits += 1
        if self.has(FaultKind.SWAP):
            # Swap the commits of each pair: keep the first commit until the second one was sent.
            self._swapped, held = (None, self._swapped) if self._swapped else ((plain, timed), None)
            if held is None:
                return
            await self._send_forms(plain, timed)
            plain, timed = held
        await self._send_forms(plain, timed)
        if self.has(FaultKind.PHANTOM):
            for message in phantoms(self._arranged(plain, timed), int(self._faults[FaultKind.PHANTOM].number)):
                self._send_later(_PHANTOM_AFTER_S, message)
        if self.has(FaultKind.ECHO):
            for text in (timed["text"], timed["text"], self._last_partial):
                await self._send({"message_type": messages.TYPE_PARTIAL, "text": text})

    async def _send_forms(self, plain: dict[str, Any], timed: dict[str, Any]) -> None:
        """Send the messages of one commit. The faults PAIR_GAP and GAP_GROWTH delay all messages except the first."""
        for index, message in enumerate(self._arranged(plain, timed)):
            gap, growth = self._faults.get(FaultKind.PAIR_GAP), self._faults.get(FaultKind.GAP_GROWTH)
            if index and (gap or growth):
                grown_s = growth.number * self._commits if growth else 0.0
                self._send_later((gap.number if gap else 0.0) + grown_s, message)
            else:
                await self._send(message)

    def _altered(self, timed: dict[str, Any]) -> dict[str, Any]:
        """Return a message with word times, with the faults applied to its words."""
        words = timed.get("words")
        if self.has(FaultKind.WORDS_NULL):
            words = None
        elif words and self.has(FaultKind.NO_TIMES):
            words = [{k: v for k, v in w.items() if k not in ("start", "end")} for w in words]
        elif words:
            late_s = self._faults[FaultKind.OFFSET].number if self.has(FaultKind.OFFSET) else 0.0
            if self.has(FaultKind.DRIFT):
                late_s += self._faults[FaultKind.DRIFT].number * self._commits
            form, since = self._faults[FaultKind.TIMES].name_at if self.has(FaultKind.TIMES) else ("", 0.0)
            words = shifted(words, late_s, form if self._commits >= since else "", self._commits)
        return {**timed, "words": words}

    def _arranged(self, plain: dict[str, Any], timed: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the messages to send for a commit, in order. Faults may drop, swap, repeat or add messages."""
        out = [timed, plain] if self.has(FaultKind.TIMED_FIRST) else [plain, timed]
        untimed = self._faults.get(FaultKind.UNTIMED)
        if self.has(FaultKind.PLAIN_ONLY) or (untimed and self._commits % int(untimed.number) == 0):
            out = [plain]
        elif self.has(FaultKind.TIMED_ONLY):
            out = [timed]
        if self.has(FaultKind.TRIPLICATE):
            out = out * 3
        if self.has(FaultKind.EMPTY_COMMITS):
            out = [{**m, "text": "", "words": []} if "words" in m else {**m, "text": ""} for m in out] + out
        return out

    def _send_later(self, seconds: float, message: dict[str, Any]) -> None:
        task = asyncio.create_task(self._later(seconds, message))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _later(self, seconds: float, message: dict[str, Any]) -> None:
        await asyncio.sleep(seconds)
        await self._send(message)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._emit(messages.TRANSCRIPT, message)

    async def _fail(self, name: str, *, as_message: bool) -> FaultEffect:
        text = f"{name}: a configured fault"
        if as_message:
            await self._send({"message_type": name, "error": text})
        else:
            await self._emit(messages.ERROR, {"error": text})
        return await self._close()

    async def _close(self, code: int = NORMAL, reason: str = "") -> FaultEffect:
        self._over = True
        await self._emit(messages.CLOSED, {"code": code, "reason": reason})
        return FaultEffect.END

    def _past(self, kind: FaultKind) -> bool:
        """Whether the session has the fault and has received more seconds of audio than the fault's value."""
        return kind in self._faults and self._audio_s > self._faults[kind].number

    def _too_fast(self) -> bool:
        """Whether the client has sent its audio faster than the speed that the fault OVERFLOW allows."""
        # A client may send several chunks at once at the start, which is not yet a high speed.
        elapsed_s = max(time.monotonic() - self._started, 0.5)
        return self._audio_s - elapsed_s * self._faults[FaultKind.OVERFLOW].number > _OVERFLOW_WINDOW_S


async def apply_handshake_faults(request: web.Request, faults: FaultSchedule) -> web.Response | None:
    """Apply the faults of the handshake to `request`. Returns a response that replaces the normal response of the
    handshake, or None if the handshake continues normally."""
    for fault in faults.next_connection():
        if fault.kind is FaultKind.HANG:
            await asyncio.sleep(NEVER_S)
        elif fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.number)
        elif fault.kind is FaultKind.HTTP:
            status, pause_s = fault.name_at
            refused = auth.refusal(int(status), "error", "a configured fault")
            if pause_s:
                refused.headers["Retry-After"] = f"{pause_s:g}"
            return refused
        elif fault.kind is FaultKind.REFUSE:
            REFUSALS[id(request)] = fault.value
    return None
