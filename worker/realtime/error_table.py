"""The table of the service's errors. It maps the names, words and numbers of an error to its kind, and each kind to an
action. No I/O.

Sources: the schema of the service's upstream (names with and without the suffix `_error`), the error bodies of similar
services, the IANA registry of websocket close codes, and the convention 4000 + HTTP status for private close codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class RetryAction(StrEnum):
    """How the remaining audio is processed."""

    DONE = "done"  # no audio remains
    FAIL = "fail"  # a later session cannot succeed
    RETRY = "retry"  # a new session after a pause
    ROLLOVER = "rollover"  # a new session at once


class ErrorKind(StrEnum):
    """The part that an error concerns."""

    KEY = "key"  # the API key is refused
    PERMISSION = "permission"  # the key is valid, but lacks a permission
    ACCOUNT = "account"  # no credit, no plan, unaccepted terms, suspended
    REQUEST = "request"  # the audio or an option of the session is refused
    PROTOCOL = "protocol"  # the request of the handshake is not understood
    BUSY = "busy"  # a limit of rate or of concurrent sessions, or an overloaded service
    SERVICE = "service"  # the service fails
    INTERMEDIARY = "intermediary"  # a proxy, firewall or CDN answered instead of the service
    NOT_FOUND = "not found"  # no real-time service at this address
    SESSION = "session"  # only the ended session: its time limit, inactivity
    UNKNOWN = "unknown"


ACTIONS: Final[Mapping[ErrorKind, RetryAction]] = {
    ErrorKind.KEY: RetryAction.FAIL,
    ErrorKind.PERMISSION: RetryAction.FAIL,
    ErrorKind.ACCOUNT: RetryAction.FAIL,
    ErrorKind.REQUEST: RetryAction.FAIL,
    ErrorKind.PROTOCOL: RetryAction.FAIL,
    ErrorKind.BUSY: RetryAction.RETRY,
    ErrorKind.SERVICE: RetryAction.RETRY,
    ErrorKind.INTERMEDIARY: RetryAction.RETRY,
    ErrorKind.NOT_FOUND: RetryAction.RETRY,
    ErrorKind.SESSION: RetryAction.ROLLOVER,
    ErrorKind.UNKNOWN: RetryAction.RETRY,
}

_NAMES: Final[Mapping[ErrorKind, str]] = {
    ErrorKind.KEY: "auth_error invalid_api_key invalid_key incorrect_api_key missing_api_key api_key_not_found"
    " api_key_expired expired_api_key api_key_revoked api_key_invalid authentication_error authentication_failed"
    " authentication_required auth_failed auth_required invalid_token token_expired invalid_credentials"
    " needs_authorization invalid_authorization_header no_api_key api_key_required",
    ErrorKind.PERMISSION: "missing_permissions missing_permission permission_denied permission_error"
    " insufficient_permissions insufficient_scope access_denied feature_not_available model_access_denied"
    " ip_not_allowed api_key_restricted",
    ErrorKind.ACCOUNT: "quota_exceeded unaccepted_terms insufficient_credits insufficient_credit insufficient_quota"
    " insufficient_balance insufficient_funds credits_exhausted out_of_credits credit_limit_exceeded payment_required"
    " payment_issue billing_error billing_hard_limit_reached subscription_required subscription_expired"
    " account_suspended account_disabled account_blocked free_tier_exhausted trial_expired usage_limit_exceeded"
    " only_for_creator detected_unusual_activity",
    ErrorKind.REQUEST: "input_error chunk_size_exceeded unsupported_format unsupported_audio unsupported_sample_rate"
    " unsupported_language invalid_audio invalid_audio_format unprocessable_entity validation_error payload_too_large"
    " max_size_exceeded unsupported_model invalid_parameters invalid_parameter invalid_option invalid_language",
    ErrorKind.BUSY: "rate_limited rate_limit rate_limit_exceeded rate_limit_error too_many_requests queue_overflow"
    " resource_exhausted too_many_concurrent_requests concurrent_limit_exceeded concurrency_limit_exceeded"
    " too_many_sessions too_many_connections max_concurrent_sessions system_busy server_busy service_busy overloaded"
    " overloaded_error server_overloaded capacity_exceeded at_capacity throttled throttling_exception queue_full"
    " connection_limit_exceeded",
    ErrorKind.SERVICE: "transcriber_error internal_server_error service_unavailable bad_gateway gateway_timeout"
    " upstream_error backend_error model_unavailable maintenance",
    ErrorKind.SESSION: "session_time_limit_exceeded insufficient_audio_activity commit_throttled session_expired"
    " session_timeout session_duration_exceeded max_session_duration_exceeded idle_timeout inactivity_timeout"
    " no_audio_received",
}
_GENERAL_NAMES: Final[Mapping[ErrorKind, str]] = {
    ErrorKind.KEY: "unauthorized unauthorised unauthenticated",
    ErrorKind.PERMISSION: "forbidden not_allowed",
    ErrorKind.REQUEST: "invalid_request bad_request invalid_argument",
    ErrorKind.SERVICE: "error internal_error server_error internal unavailable timeout",
}
"""Names that say less than the words beside them: `{code: "invalid_request_error", message: "Incorrect API key"}`."""
KIND_OF_NAME: Final = {name: kind for kind, names in _NAMES.items() for name in names.split()}
KIND_OF_GENERAL_NAME: Final = {name: kind for kind, names in _GENERAL_NAMES.items() for name in names.split()}
ERROR_NAMES: Final = frozenset({*KIND_OF_NAME, *KIND_OF_GENERAL_NAME})
"""All names of the table, in the spelling that `known_name` returns."""

MAX_READ: Final = 2000
"""Maximum characters of a text that are searched: a service may send a text of any length."""
_CREDENTIAL: Final = r"(?:x-)?(?:api[ _-]?keys?|(?:access|bearer|auth(?:entication|orization)?) tokens?|credentials?)"
_FUNDS: Final = r"(?:credits?|balance|funds?|quota|minutes|allowance)"
_LASTING: Final = (
    r"\b(?:invalid|incorrect|expired|revoked|missing|required|insufficient|exhausted|exceeded|suspended|disabled|upgrade"
    r"|renew|wrong|unknown|unauthori[sz]ed|locked|overdue|not recogni[sz]ed"
    rf"|(?:low|out of|not enough|no(?: more| remaining)?) {_FUNDS})\b|不足|欠費|欠费|無效|无效"
)
"""Reasons for which a refusal lasts."""
# The order matters, because the first match decides. Words about rates come first, because "quota of 5 requests per
# minute exceeded" does not mean that the account has no credit. The words of a busy service come last, because "limit"
# is a part of many other errors.
_WORDS: Final[tuple[tuple[ErrorKind, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (
            ErrorKind.BUSY,
            r"\brate[ _-]?limit|too many (?:\w+ )?(?:requests|connections|sessions|clients|streams)|too many concurrent"
            r"|\bper (?:second|minute)\b|\bconcurren(?:t|cy)\b|\bthrottl|請求過於頻繁|请求过于频繁",
        ),
        (
            # A part of the service fails that would check the key or the account. The text names no other reason.
            ErrorKind.SERVICE,
            rf"\A(?![\s\S]*(?:{_LASTING}))[\s\S]*?(?:\btemporarily unavailable\b"
            r"|\b(?:service|server|system|backend|check|lookup|verification|provider)\b[^.]{0,30}"
            r"\b(?:unavailable|timed? ?out)\b"
            r"|\b(?:authentication|authorization|permissions?|billing|payment|quota|account)\b[^.]{0,20}"
            r"\btimed? ?out\b)",
        ),
        (
            ErrorKind.ACCOUNT,
            rf"\b(?:insufficient|out of|not enough|no(?: more| remaining)?|low)[ _](?:\w+ )?{_FUNDS}\b"
            rf"|\b{_FUNDS}\b[^.]{{0,30}}\b(?:exhausted|exceeded|depleted|used up|empty|insufficient|too low|ran out"
            r"|expired|reached)"
            r"|\bexceed\w* (?:your |the )?(?:\w+ )?quota|\bpayment\b[^.]{0,20}\b(?:required|failed|overdue|due)"
            r"|\bbilling\b|\b(?:upgrade|renew) (?:your )?(?:plan|subscription)|\bmonthly (?:\w+ )?(?:limit|quota|usage)"
            r"|\bsubscription\b[^.]{0,20}\b(?:required|expired|inactive|ended|past due|cancell?ed)"
            r"|\baccount\b[^.]{0,20}\b(?:suspended|disabled|blocked|deactivated|locked|closed|inactive)"
            r"|\b(?:accept|agree)\w*\b[^.]{0,30}\bterms\b|餘額不足|余额不足|額度不足|额度不足|點數不足|点数不足|欠費|欠费",
        ),
        (
            ErrorKind.KEY,
            r"\b(?:invalid|incorrect|unknown|expired|missing|revoked|bad|wrong|no|disabled|inactive|malformed)\b"
            rf"(?: \w+)? {_CREDENTIAL}\b"
            rf"|\b{_CREDENTIAL}\b[^.]{{0,40}}\b(?:invalid|incorrect|expired|revoked|missing|required|unknown|disabled"
            r"|inactive|not (?:valid|found|recogni[sz]ed|accepted|provided|exist))"
            r"|\bunauthori[sz]ed\b|\bunauthenticated\b|\bnot authenticated\b|\bauthentication\b"
            r"|\bauthorization (?:failed|required)|無效的?.{0,4}(?:金鑰|密鑰|API)|无效的?.{0,4}(?:密钥|API)",
        ),
        (
            ErrorKind.PERMISSION,
            r"\bpermissions?\b|\bnot (?:allowed|permitted|authori[sz]ed|entitled) to\b|\baccess (?:is |was )?denied"
            r"|\bforbidden\b|\binsufficient[ _](?:\w+ )?scope|\b(?:does not|doesn't|do not) have access"
            r"|\bnot (?:available|included|enabled) (?:for|in|on|with) (?:your|this)\b|權限|权限",
        ),
        (
            ErrorKind.SESSION,
            r"\bsession\b[^.]{0,30}\b(?:time limit|duration|too long|expired|timed out)"
            r"|\bmaximum (?:session )?(?:duration|length)|\bidle (?:time-?out|for)|\binactivity\b|\bno audio\b",
        ),
        (
            ErrorKind.REQUEST,
            r"\b(?:invalid|unsupported|unknown|bad|unrecogni[sz]ed) (?:\w+ )?(?:sample ?rate|audio|encoding|format"
            r"|language|option|parameter|argument|payload|chunk|field|model)\b",
        ),
        (ErrorKind.PROTOCOL, r"\b(?:invalid namespace|unsupported protocol version|bad handshake|transport unknown)\b"),
        (
            ErrorKind.BUSY,
            r"\bbusy\b|\boverload|\bcapacity\b|\bexhausted\b|\bqueue (?:is )?(?:full|overflow)|\bslow down\b"
            r"|\btry again (?:later|in)\b|\btoo many\b|\blimit (?:reached|exceeded)|\bat (?:its|the) limit\b|\b429\b"
            r"|no free session|繁忙",
        ),
        (
            ErrorKind.SERVICE,
            r"\binternal (?:server )?error|\bunavailable\b|\bmaintenance\b|\brestart|\bshutting down|\btimed? ?out\b",
        ),
    )
)

CLOSE_CODES: Final[Mapping[int, ErrorKind]] = {
    1001: ErrorKind.SERVICE,  # going away: the service shuts down
    1002: ErrorKind.UNKNOWN,
    1003: ErrorKind.REQUEST,  # unsupported data
    1007: ErrorKind.REQUEST,  # invalid data
    1008: ErrorKind.UNKNOWN,  # a violated policy, which only the reason names
    1009: ErrorKind.REQUEST,  # a message is too large
    1011: ErrorKind.SERVICE,
    1012: ErrorKind.SERVICE,  # restart
    1013: ErrorKind.BUSY,  # try again later
    1014: ErrorKind.INTERMEDIARY,  # bad gateway
    3000: ErrorKind.KEY,  # unauthorized
    3003: ErrorKind.PERMISSION,  # forbidden
    3008: ErrorKind.SERVICE,  # timeout
}
"""Kinds of close codes, for a close whose reason names no error. Other codes concern only the ended session."""
_PRIVATE_CODES: Final = 4000
"""Private close codes are often this number plus an HTTP status: 4401, 4402, 4403, 4429."""
_STATUS_TEXT: Final = re.compile(
    r"(?:(?:error|https?|status|code|request failed with)[ _:=#-]{0,3}){0,5}(4?[45][0-9]{2})(?:\.0)?", re.IGNORECASE
)
STATUSES: Final[Mapping[int, ErrorKind]] = {
    400: ErrorKind.PROTOCOL,
    401: ErrorKind.KEY,
    402: ErrorKind.ACCOUNT,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.NOT_FOUND,
    405: ErrorKind.NOT_FOUND,
    407: ErrorKind.INTERMEDIARY,
    408: ErrorKind.SERVICE,
    410: ErrorKind.NOT_FOUND,
    425: ErrorKind.SERVICE,
    426: ErrorKind.NOT_FOUND,
    429: ErrorKind.BUSY,
    451: ErrorKind.INTERMEDIARY,
    501: ErrorKind.NOT_FOUND,
}
"""Kinds of HTTP statuses, for a body that names no error."""


def known_name(word: str) -> str | None:
    """Return the name in the table that `word` spells, or None if there is no such name. Other spellings are
    recognized: `rate-limited`, `RateLimited` and `rate_limited_error` all spell `rate_limited`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word.strip())
    plain = re.sub(r"[^a-z0-9]+", "_", snake.lower()).strip("_")
    for name in (plain, plain.removesuffix("_error"), f"{plain}_error", plain.removesuffix("_exception")):
        if name in ERROR_NAMES:
            return name
    return None


def name_in(text: str) -> str | None:
    """Return the first specific name of the table among the words of `text`, or the name that is the whole text."""
    words = re.findall(r"\w+", text[:MAX_READ])
    spelled = [name for word in words if "_" in word and (name := known_name(word))]
    if specific := [name for name in spelled if name in KIND_OF_NAME]:
        return specific[0]
    # A name of one word also occurs in ordinary sentences, so it is only recognized before a colon or as the whole
    # text.
    if words and (len(words) == 1 or re.match(r"\w+\s{0,3}:", text[:MAX_READ].lstrip())):
        return known_name(words[0])
    return next(iter(spelled), None)


def kind_of_words(text: str) -> ErrorKind:
    """Return the kind of error that a text in plain language describes, or UNKNOWN."""
    start = text[:MAX_READ]
    return next((kind for kind, pattern in _WORDS if pattern.search(start)), ErrorKind.UNKNOWN)


def kind_of(names: Iterable[str], text: str = "") -> ErrorKind:
    """Return the kind of an error. Specific names decide first, then the words of `text`, then general names."""
    known = [name for word in names if (name := known_name(word))]
    if (inside := name_in(text)) is not None:
        known.append(inside)
    for name in known:
        if name in KIND_OF_NAME:
            return KIND_OF_NAME[name]
    words = kind_of_words(text)
    if words is not ErrorKind.UNKNOWN:
        return words
    return next((KIND_OF_GENERAL_NAME[name] for name in known), ErrorKind.UNKNOWN)


def kind_of_close(code: int | None, reason: str) -> ErrorKind:
    """Return the kind of a close. Its reason decides first, then its code. A close that names no error ends only the
    session, even with code 1000."""
    if reason and (kind := kind_of((), reason)) is not ErrorKind.UNKNOWN:
        return kind
    if code is None:
        return ErrorKind.SESSION
    if (status := status_of(code)) is not None:
        return kind_of_status(status)
    return CLOSE_CODES.get(code, ErrorKind.SESSION)


def status_of(code: object) -> int | None:
    """Return the HTTP error status that a code is: a number, its digits, `HTTP 401`, or a private close code such as
    4401. Returns None for any other value."""
    if isinstance(code, str):
        found = _STATUS_TEXT.fullmatch(code.strip())
        code = int(found[1]) if found else None
    if not isinstance(code, int | float) or isinstance(code, bool) or code != code // 1:
        return None
    number = int(code) - _PRIVATE_CODES if code >= _PRIVATE_CODES else int(code)
    return number if 400 <= number < 600 else None


def kind_of_status(status: int) -> ErrorKind:
    """Return the kind of an HTTP status. Used if the body of the response names no error."""
    default = ErrorKind.SERVICE if status >= 500 else ErrorKind.NOT_FOUND if status < 400 else ErrorKind.PROTOCOL
    return STATUSES.get(status, default)


__all__ = [
    "ACTIONS",
    "ERROR_NAMES",
    "KIND_OF_GENERAL_NAME",
    "KIND_OF_NAME",
    "ErrorKind",
    "RetryAction",
    "kind_of",
    "kind_of_close",
    "kind_of_status",
    "known_name",
    "name_in",
    "status_of",
]
