"""Records what became of the options that a job adds to `start-session`. No I/O.

The transcript records the options that the service's configuration (`session_started.config`) confirms. If an option is
wrong, the upstream of the service opens the session and closes it at once with 1008 `invalid_request`. The client then
opens a new session without that option.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import JsonValue

from worker.realtime.error_table import ErrorKind, kind_of
from worker.realtime.session_states import EndReason, SessionEnd
from worker.secret_masking import Masker
from worker.text_escaping import printable
from worker.transcript.model import SessionOption

MAX_SHOWN: Final = 200
"""Characters of a value of the service that the transcript and warnings show."""
POLICY_VIOLATION: Final = 1008
"""Close code (RFC 6455, section 7.4.1) with which the upstream ends a session with a wrong option."""
REFUSALS: Final = frozenset({"invalid_request", "input_error"})
"""Error names of a service that does not accept an option."""
_OTHER_NAMES: Final = {"model": "model_id", "language": "language_code"}
"""Names under which the configuration may confirm an option."""


class SessionOptionResults:
    """The options of all sessions of one job, which may run at the same time."""

    def __init__(self, requested: Mapping[str, JsonValue], masker: Masker) -> None:
        self._requested = dict(requested)
        self._masker = masker
        self._refused: dict[str, str] = {}  # name -> reason of the service
        self._confirmed: dict[str, object] = {}  # name -> value in the configuration
        self._answered = False  # some session has sent a configuration

    def current(self) -> dict[str, JsonValue]:
        """Return the options for the next session."""
        return {name: value for name, value in self._requested.items() if name not in self._refused}

    def confirm(self, sent: Mapping[str, JsonValue], config: Mapping[str, object] | None) -> None:
        """Note the configuration of a session that was started with the options `sent`. None: the service sent no
        configuration."""
        if config is None:
            return
        self._answered = True
        for name in sent:
            for known in (name, _OTHER_NAMES.get(name, name)):
                if known in config:
                    self._confirmed[name] = config[known]
                    break

    def refuse(self, sent: Mapping[str, JsonValue], end: SessionEnd, *, transcribed: bool) -> Sequence[str]:
        """Note the end of a session that was started with the options `sent`. Returns the options that may be the
        reason why the service refused the session: the options that the service names in its reason, or all if it names
        none. The next session is opened without the returned options.

        `transcribed`: the session returned text, so its options cannot be the reason."""
        by_error = end.reason is EndReason.ERROR and end.name in REFUSALS
        by_close = end.reason is EndReason.CLOSED and end.close_code == POLICY_VIOLATION
        if not sent or transcribed or not (by_error or by_close):
            return ()
        # Not the options: a limit, the key or the account, for which the next session must not lose them.
        if by_close and kind_of((), end.detail) not in (ErrorKind.UNKNOWN, ErrorKind.REQUEST, ErrorKind.PROTOCOL):
            return ()
        words = set(re.findall(r"[A-Za-z0-9_.-]+", end.detail)) | set(re.findall(r"\w+", end.detail))
        names = [name for name in sent if name in words] or list(sent)
        for name in names:
            self._refused.setdefault(name, printable(end.detail)[:MAX_SHOWN])
        return names

    def facts(self) -> tuple[SessionOption, ...]:
        """Return the result of each requested option, for the transcript."""
        return tuple(self._fact(name, value) for name, value in self._requested.items())

    def _fact(self, name: str, value: JsonValue) -> SessionOption:
        if name in self._refused:
            return SessionOption(name=name, requested=value, result="refused", detail=self._refused[name])
        if name not in self._confirmed:
            detail = "" if self._answered else "the service sent no configuration"
            return SessionOption(name=name, requested=value, result="unconfirmed", detail=detail)
        applied = self._confirmed[name]
        result: Literal["confirmed", "changed"] = "confirmed" if _equal(value, applied) else "changed"
        return SessionOption(name=name, requested=value, result=result, detail=self._shown(applied))

    def _shown(self, value: object) -> str:
        text = json.dumps(value, ensure_ascii=False, default=str)[: 2 * MAX_SHOWN]
        return printable(self._masker.text(text))[:MAX_SHOWN]


def warnings(facts: Sequence[SessionOption]) -> tuple[str, ...]:
    """Return a warning for each group of options that the service did not apply as requested."""
    found = []
    for refused in (fact for fact in facts if fact.result == "refused"):
        found.append(
            f"the service refused the session option {refused.name} ({refused.detail}); the job continued without it"
        )
    for changed in (fact for fact in facts if fact.result == "changed"):
        wanted = json.dumps(changed.requested, ensure_ascii=False)
        found.append(
            f"the service applied the session option {changed.name} as {changed.detail} instead of {wanted[:MAX_SHOWN]}"
        )
    if unconfirmed := [fact.name for fact in facts if fact.result == "unconfirmed"]:
        found.append(
            f"the service did not confirm the session options {', '.join(unconfirmed)}; they may have no effect"
        )
    return tuple(found)


def _equal(wanted: JsonValue, applied: object) -> bool:
    """Whether a service confirmed a value. The service may write a number or a boolean as text, or change the case of
    letters."""
    if wanted == applied:
        return True
    if isinstance(wanted, list) and isinstance(applied, list):
        return len(wanted) == len(applied) and all(map(_equal, wanted, applied))
    if isinstance(wanted, list | dict) or isinstance(applied, list | dict):
        return False
    return _plain(wanted) == _plain(applied)


def _plain(value: object) -> str:
    text = str(value).strip().lower()
    try:
        return repr(float(text))
    except ValueError:
        return text
