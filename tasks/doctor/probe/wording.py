"""Describes measured facts of a service in sentences. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tasks.batches.number_format import format_count


def _commit_pause(facts: Mapping[str, Any]) -> str:
    pause_s = facts["commit_pause_s"]
    text = "no text was committed" if pause_s is None else f"text is committed {pause_s:g} s after the end of speech"
    times = {True: ", with word times", False: ", without word times", None: ""}[facts.get("word_times")]
    return text + times + (f", over {facts['transport']}" if facts.get("transport") else "")


def _stop(facts: Mapping[str, Any]) -> str:
    return f"stop-session {'commits' if facts['commits_on_stop'] else 'does not commit'} the last words"


def _sessions(facts: Mapping[str, Any]) -> str:
    tested = format_count(facts["sessions_tested"], "session")
    if facts.get("max_sessions"):
        text = f"at most {format_count(facts['max_sessions'], 'session')} may be open at the same time"
    else:
        text = f"{tested} {'was' if facts['sessions_tested'] == 1 else 'were'} open at the same time; none was refused"
    idle_s = facts.get("idle_close_s")
    return text + (f"; a session without messages is closed after {idle_s:g} s" if idle_s is not None else "")


def _options(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} is {result}" for name, result in facts["options"].items()) or "none was sent"


def _speed(facts: Mapping[str, Any]) -> str:
    best = facts["max_speed"]
    text = "no speed was accepted" if best is None else f"audio is accepted at {best:g} times real time"
    refused = facts.get("refused_speed")
    return text + (f", and not at {refused:g} times" if refused is not None else "")


def _drift(facts: Mapping[str, Any]) -> str:
    drift_s = facts["drift_s"]
    if drift_s is None:
        return "not found: too few words have times"
    return f"word times are {abs(drift_s):g} s {'later' if drift_s >= 0 else 'earlier'} with each commit"


def _length(facts: Mapping[str, Any]) -> str:
    limit_s, tested_s = facts.get("session_limit_s"), facts["session_tested_s"]
    if limit_s is not None:
        return f"a session ends after {limit_s:g} s of audio"
    return f"a session with {tested_s:g} s of audio was not ended; longer ones were not tried"


_SENTENCES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "commit_pause_s": _commit_pause,
    "commits_on_stop": _stop,
    "sessions_tested": _sessions,
    "options": _options,
    "max_speed": _speed,
    "drift_s": _drift,
    "session_tested_s": _length,
}


def sentence(facts: Mapping[str, Any]) -> str:
    """Return the measured facts of one step as a sentence. `facts`: fields of a ServiceProfile."""
    return "; ".join(describe(facts) for name, describe in _SENTENCES.items() if name in facts)
