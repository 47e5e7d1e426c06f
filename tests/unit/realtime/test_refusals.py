"""Refusals and errors of every shape, from the bytes on the wire to the decision and the message."""

from __future__ import annotations

import json
import re
from email import message_from_string
from typing import Any

import pytest
from socketio.packet import Packet

from worker import errors as e
from worker.realtime import error_table, messages, refusals
from worker.realtime.error_shapes import MAX_TEXT, read_error
from worker.realtime.error_table import ErrorKind
from worker.realtime.message_masking import mask_message
from worker.realtime.messages import Lost, close_text
from worker.realtime.rate_control import RateControl
from worker.realtime.session import Session
from worker.realtime.session_retry_policy import RetryAction, RetryDecision, after_refusal, decide
from worker.realtime.streaming import ended
from worker.secret_masking import Masker
from worker.settings import load

FAIL, RETRY, ROLLOVER = RetryAction.FAIL, RetryAction.RETRY, RetryAction.ROLLOVER
URL, KEY = "https://stt.example", "sk-very-secret-0123456789"
MASKER = Masker([KEY])
JSON = "Content-Type: application/json\r\n"
HTML = "Content-Type: text/html\r\n"
CLOUDFLARE = "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>no</body></html>"


def http(status: int, headers: str = "", body: str = "") -> str:
    return f"HTTP/1.1 {status} X\r\n{headers}\r\n{body}"


HANDSHAKES: list[tuple[str, RetryAction, type[e.EndpointError], str]] = [
    (http(401), FAIL, e.AuthRefused, "HTTP 401"),
    (http(401, JSON, '{"message": "Invalid API key"}'), FAIL, e.AuthRefused, "HTTP 401: Invalid API key"),
    (http(401, HTML, "<h1>401 Authorization Required</h1>"), FAIL, e.AuthRefused, "401 Authorization Required"),
    (
        http(401, JSON, '{"detail": {"status": "quota_exceeded", "message": "You have 0 credits remaining."}}'),
        *(FAIL, e.AccountRefused, "quota_exceeded: You have 0 credits remaining."),
    ),
    (
        http(401, JSON, '{"detail": {"status": "missing_permissions", "message": "lacks speech_to_text"}}'),
        *(FAIL, e.PermissionRefused, "missing_permissions: lacks speech_to_text"),
    ),
    (http(402), FAIL, e.AccountRefused, "HTTP 402"),
    (http(402, HTML, "<title>Payment Required</title>"), FAIL, e.AccountRefused, "Payment Required"),
    (http(402, "", "Insufficient credits"), FAIL, e.AccountRefused, "HTTP 402: Insufficient credits"),
    (http(403, JSON, '{"message": "no"}'), FAIL, e.PermissionRefused, "HTTP 403: no"),
    (
        http(403, JSON + "cf-ray: 8a1b\r\n", '{"code": 4, "message": "Forbidden"}'),
        FAIL,
        e.PermissionRefused,
        "Forbidden",
    ),
    (
        http(403, JSON, '{"error": {"code": "invalid_api_key", "message": "The key is wrong"}}'),
        *(FAIL, e.AuthRefused, "invalid_api_key: The key is wrong"),
    ),
    (http(403, JSON, '{"error": "Insufficient balance"}'), FAIL, e.AccountRefused, "Insufficient balance"),
    (http(403), FAIL, e.PermissionRefused, "HTTP 403"),
    (
        http(403, HTML + "cf-ray: 8a1b-HKG\r\n", CLOUDFLARE),
        RETRY,
        e.EndpointUnavailable,
        "Attention Required! | Cloudflare",
    ),
    (
        http(403, "cf-ray: 8a1b-HKG\r\n", "error code: 1020"),
        RETRY,
        e.EndpointUnavailable,
        "error code: 1020, cf-ray 8a1b-HKG",
    ),
    (http(403, "", "error code: 1010"), RETRY, e.EndpointUnavailable, "a proxy, firewall or CDN answered"),
    (http(403, "X-Squid-Error: ERR_ACCESS_DENIED 0\r\n", ""), RETRY, e.EndpointUnavailable, "a proxy, firewall or CDN"),
    (http(403, "cf-mitigated: challenge\r\n" + JSON, "{}"), RETRY, e.EndpointUnavailable, "a proxy, firewall or CDN"),
    (http(400), FAIL, e.ProtocolRefused, "HTTP 400"),
    (http(400, JSON, '{"code": 5, "message": "Unsupported protocol version"}'), FAIL, e.ProtocolRefused, "Unsupported"),
    (http(400, JSON, '"Bad handshake method"'), FAIL, e.ProtocolRefused, "Bad handshake method"),
    (http(400, JSON, '{"error": "Incorrect API key provided"}'), FAIL, e.AuthRefused, "Incorrect API key provided"),
    (
        http(400, JSON, '{"error": {"type": "invalid_request_error", "code": "invalid_api_key", "message": "x"}}'),
        *(FAIL, e.AuthRefused, "invalid_api_key"),
    ),
    (http(400, HTML, "<title>400 The plain HTTP request</title>"), RETRY, e.EndpointUnavailable, "400 The plain HTTP"),
    (http(404, HTML, "<title>404 Not Found</title>"), RETRY, e.EndpointUnavailable, "no real-time service: HTTP 404"),
    (http(404, JSON, '{"detail": "Not Found"}'), RETRY, e.EndpointUnavailable, "no real-time service: HTTP 404: Not"),
    (http(407, HTML, ""), RETRY, e.EndpointUnavailable, "HTTP 407"),
    (http(400, JSON, '{"error": "error", "message": "what"}'), FAIL, e.ProtocolRefused, "what"),
    (http(403, JSON, '{"error": "error", "message": "what"}'), FAIL, e.PermissionRefused, "what"),
    (http(413), FAIL, e.ProtocolRefused, "HTTP 413"),
    (http(429), RETRY, e.EndpointBusy, "HTTP 429"),
    (http(429, JSON, '{"detail": {"status": "too_many_concurrent_requests"}}'), RETRY, e.EndpointBusy, "too_many_conc"),
    (
        http(429, JSON, '{"detail": {"status": "system_busy", "message": "Heavy traffic"}}'),
        *(RETRY, e.EndpointBusy, "system_busy: Heavy traffic"),
    ),
    (
        http(429, JSON, '{"error": {"code": "insufficient_quota", "message": "check your plan and billing details"}}'),
        *(FAIL, e.AccountRefused, "insufficient_quota"),
    ),
    (
        http(
            429, JSON, '{"error": {"status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded: requests per minute"}}'
        ),
        *(RETRY, e.EndpointBusy, "requests per minute"),
    ),
    (http(500), RETRY, e.EndpointUnavailable, "HTTP 500"),
    (http(500, JSON, '{"message": "Invalid API key cache"}'), RETRY, e.EndpointUnavailable, "Invalid API key cache"),
    (http(502, HTML, "<title>502 Bad Gateway</title>"), RETRY, e.EndpointUnavailable, "502 Bad Gateway"),
    (http(503, JSON, '{"error": "system_busy"}'), RETRY, e.EndpointBusy, "system_busy"),
    (http(503, "", "Service Unavailable"), RETRY, e.EndpointUnavailable, "Service Unavailable"),
    (http(522, "cf-ray: 9f\r\n"), RETRY, e.EndpointUnavailable, "cf-ray 9f"),
    (
        http(524, HTML, "<html><body>A timeout occurred</body></html>"),
        RETRY,
        e.EndpointUnavailable,
        "A timeout occurred",
    ),
    (http(401, JSON, "{no json"), FAIL, e.AuthRefused, "{no json"),
    (http(401, JSON, '[{"msg": "Token has expired"}]'), FAIL, e.AuthRefused, "Token has expired"),
    (http(403, JSON, '{"a": {"b": 1}}'), FAIL, e.PermissionRefused, '{"a": {"b": 1}}'),
    (http(403, JSON, "[" * 5000), FAIL, e.PermissionRefused, "HTTP 403"),
]


@pytest.mark.parametrize(("wire", "action", "error", "text"), HANDSHAKES)
def test_a_refused_handshake(wire: str, action: RetryAction, error: type[e.EndpointError], text: str) -> None:
    refusal = response(wire)
    made = refusal.error(URL)
    assert (after_refusal(made, key_accepted=False).action, type(made)) == (action, error), str(made)
    assert refusal.action is action
    assert text in str(made)
    assert URL in str(made)
    assert not re.search(r"STT_(?!URL|API_KEY)|\$", str(made))


def response(wire: str) -> refusals.Refusal:
    head, _, body = wire.partition("\r\n\r\n")
    first, _, headers = head.partition("\r\n")
    return refusals.of_response(int(first.split()[1]), dict(message_from_string(headers)), MASKER.text(body))


PACKETS: list[tuple[str, RetryAction, type[e.EndpointError], str]] = [
    ('4{"message": "Invalid API key"}', FAIL, e.AuthRefused, "Invalid API key"),
    ('4"Invalid API key"', FAIL, e.AuthRefused, "Invalid API key"),
    ('4{"message": "Insufficient credits"}', FAIL, e.AccountRefused, "Insufficient credits"),
    (
        '4{"message": "refused", "data": {"code": 402, "content": 1, "reason": "payment_required"}}',
        FAIL,
        e.AccountRefused,
        "r",
    ),
    ('4{"message": "x", "data": {"code": "quota_exceeded"}}', FAIL, e.AccountRefused, "quota_exceeded: x"),
    ('4{"message": "Too many connections"}', RETRY, e.EndpointBusy, "Too many connections"),
    ('4{"message": "system_busy"}', RETRY, e.EndpointBusy, "system_busy"),
    ('4{"message": "No permission for speech to text"}', FAIL, e.PermissionRefused, "No permission"),
    ('4{"message": "Invalid namespace"}', FAIL, e.ProtocolRefused, "Invalid namespace"),
    ('4{"message": "server is shutting down"}', RETRY, e.EndpointUnavailable, "shutting down"),
    ('4{"message": "Request failed with status code 402"}', FAIL, e.AccountRefused, "code 402"),
    ('4"401: nope"', FAIL, e.AuthRefused, "401: nope"),
    ("4", RETRY, e.EndpointUnavailable, "without a reason"),
    ('4["Unauthorized", 7]', FAIL, e.AuthRefused, "Unauthorized"),
]


@pytest.mark.parametrize(("wire", "action", "error", "text"), PACKETS)
def test_a_connect_error_packet(wire: str, action: RetryAction, error: type[e.EndpointError], text: str) -> None:
    made = refusals.of_packet(Packet(encoded_packet=wire).data, MASKER.text).error(URL)
    assert (after_refusal(made, key_accepted=False).action, type(made)) == (action, error), str(made)
    assert text in str(made)


CODES = [
    '{"code": %s}',
    '{"status": %s}',
    '{"statusCode": %s}',
    '{"status_code": %s}',
    '{"error": %s}',
    '{"errorCode": %s, "message": "nope"}',
    '{"message": "nope", "code": %s}',
    '{"message": "nope", "data": {"code": %s}}',
    '{"message": "nope", "data": {"error": {"status": %s}}}',
    '{"errors": [{"statusCode": %s, "detail": "nope"}]}',
]
STATUSES = [
    (400, FAIL, e.ProtocolRefused, e.RequestRefused),
    (401, FAIL, e.AuthRefused, e.AuthRefused),
    (402, FAIL, e.AccountRefused, e.AccountRefused),
    (403, FAIL, e.PermissionRefused, e.PermissionRefused),
    (404, RETRY, e.EndpointUnavailable, e.SessionLost),
    (429, RETRY, e.EndpointBusy, e.EndpointBusy),
    (503, RETRY, e.EndpointUnavailable, e.SessionLost),
]


SPELLINGS = ["%d", '"%d"', "%d.0", '"HTTP %d"', "4%d"]


@pytest.mark.parametrize(
    ("body", "spelling", "status", "action", "error", "in_session"),
    [
        *((body, "%d", *STATUSES[2]) for body in CODES),
        *((CODES[-4], spelling, *STATUSES[1]) for spelling in SPELLINGS),
        *((CODES[-4], "%d", *status) for status in STATUSES),
    ],
)
def test_a_numeric_code_is_an_http_status(
    body: str,
    spelling: str,
    status: int,
    action: RetryAction,
    error: type[e.EndpointError],
    in_session: type[e.EndpointError],
) -> None:
    payload = body % (spelling % status)
    for wire in (f"4{payload}", f'4["nope", {payload}]'):
        made = refusals.of_packet(Packet(encoded_packet=wire).data, MASKER.text).error(URL)
        assert (after_refusal(made, key_accepted=False).action, type(made)) == (action, error), str(made)
        assert str(status) in str(made)
    for wire in (err(payload), msg(payload[:1] + '"message_type": "error", ' + payload[1:])):
        decision = decision_of(wire)
        assert (decision.action, type(decision.error)) == (action, in_session), str(decision.error)


@pytest.mark.parametrize("code", ["true", "7", "399", "600", "401.5", "1e400", "-401", '"x401"', '"4015"', "NaN"])
def test_other_codes_are_no_http_status(code: str) -> None:
    made = refusals.of_packet({"message": "nope", "code": json.loads(code.replace("1e400", "Infinity"))}).error(URL)
    assert type(made) is e.EndpointUnavailable
    assert "the service fails (connection refused: " in str(made)


def err(body: str) -> str:
    return f'2["session-error",{body}]'


def msg(body: str) -> str:
    return f'2["transcript-message",{body}]'


TRANSIENT_CHECKS = (
    "Authentication service is temporarily unavailable",
    "Upstream error: authentication timed out, try again",
    "Permission check timed out",
    "Billing service timeout",
    "Account lookup unavailable",
)
LASTING_CHECKS = (
    ("The service is unavailable because your subscription has expired", e.AccountRefused),
    ("Service unavailable: payment required", e.AccountRefused),
    ("Server check: invalid API key, timed out", e.AuthRefused),
    ("out of credits: the service is temporarily unavailable", e.AccountRefused),
    ("no credits left; service unavailable", e.AccountRefused),
    ("payment overdue, account service unavailable", e.AccountRefused),
    ("Account locked, service unavailable", e.AccountRefused),
    ("Unknown API key: service unavailable", e.AuthRefused),
    ("unauthorized: the authentication service timed out", e.AuthRefused),
    ("額度不足: the service is temporarily unavailable", e.AccountRefused),
)


@pytest.mark.parametrize("text", TRANSIENT_CHECKS)
def test_a_failing_check_of_the_key_or_account_is_retried(text: str) -> None:
    """The key is not paused: a part of the service that would check it fails."""
    decision = decision_of(err(_json({"error": text})))
    assert (decision.action, type(decision.error)) == (RETRY, e.SessionLost)


@pytest.mark.parametrize(("text", "kind"), LASTING_CHECKS)
def test_a_text_that_names_a_lasting_reason_is_a_refusal(text: str, kind: type[e.EndpointError]) -> None:
    decision = decision_of(err(_json({"error": text})))
    assert (decision.action, type(decision.error)) == (FAIL, kind)


def closed(body: str) -> str:
    return f'2["session-closed",{body}]'


MESSAGES: list[tuple[str, RetryAction, type[e.EndpointError], str]] = [
    (err('{"error": "quota_exceeded"}'), FAIL, e.AccountRefused, "quota_exceeded"),
    (err('{"error": {"code": "quota_exceeded", "message": "No credit"}}'), FAIL, e.AccountRefused, "No credit"),
    (err('{"message": "Insufficient credits"}'), FAIL, e.AccountRefused, "Insufficient credits"),
    (err('{"detail": {"status": "invalid_api_key", "message": "Invalid key"}}'), FAIL, e.AuthRefused, "Invalid key"),
    (err('"Invalid API key"'), FAIL, e.AuthRefused, "Invalid API key"),
    (err('{"error": "rate_limited: slow down"}'), RETRY, e.EndpointBusy, "slow down"),
    (err('{"error": "too_many_concurrent_requests"}'), RETRY, e.EndpointBusy, "too_many_concurrent_requests"),
    (err('{"error": {"code": "SystemBusy"}}'), RETRY, e.EndpointBusy, "SystemBusy"),
    (err('{"error": "something odd"}'), RETRY, e.SessionLost, "something odd"),
    (err("{}"), RETRY, e.SessionLost, "gave no reason"),
    (
        err('{"errors": [{"code": "invalid_request", "message": "unknown option x"}]}'),
        FAIL,
        e.RequestRefused,
        "option x",
    ),
    (err('{"error": "session_time_limit_exceeded"}'), ROLLOVER, e.SessionLost, "session_time_limit_exceeded"),
    (err('{"error": "unsupported sample rate 44099"}'), FAIL, e.RequestRefused, "sample rate"),
    (err('{"code": 7, "note": [1]}'), RETRY, e.SessionLost, '"note"'),
    (msg('{"message_type": "error", "error": "quota_exceeded"}'), FAIL, e.AccountRefused, "quota_exceeded"),
    (msg('{"message_type": "error", "error": {"message": "Unauthorized"}}'), FAIL, e.AuthRefused, "Unauthorized"),
    (msg('{"message_type": "auth_error", "error": "bad key"}'), FAIL, e.AuthRefused, "bad key"),
    (msg('{"message_type": "queue_overflow", "message": "full"}'), RETRY, e.EndpointBusy, "full"),
    (msg('{"message_type": "unaccepted_terms_error"}'), FAIL, e.AccountRefused, "unaccepted_terms"),
    (msg('{"error": {"message": "Your account is suspended"}}'), FAIL, e.AccountRefused, "suspended"),
    (msg('"Insufficient credits"'), FAIL, e.AccountRefused, "Insufficient credits"),
    ('2["error",{"message":"Invalid API key"}]', FAIL, e.AuthRefused, "Invalid API key"),
    ('2["unauthorized",{"message":"jwt malformed"}]', FAIL, e.AuthRefused, "jwt malformed"),
    ('2["exception",{"status":"error","message":"overloaded"}]', RETRY, e.EndpointBusy, "overloaded"),
    (
        closed('{"code": 1008, "reason": "invalid_request"}'),
        FAIL,
        e.RequestRefused,
        "closed with 1008: invalid_request",
    ),
    (closed('{"code": 1008, "reason": "Invalid API key"}'), FAIL, e.AuthRefused, "closed with 1008: Invalid API key"),
    (closed('{"code": 1008, "reason": ""}'), RETRY, e.SessionLost, "closed with 1008"),
    (closed('{"code": "1008", "reason": "quota_exceeded"}'), FAIL, e.AccountRefused, "1008: quota_exceeded"),
    (closed('{"code": 1000, "reason": "auth_error"}'), FAIL, e.AuthRefused, "auth_error"),
    (closed('{"code": 1000, "reason": ""}'), ROLLOVER, e.SessionLost, "closed with 1000"),
    (closed('{"code": 1000, "reason": "idle timeout"}'), ROLLOVER, e.SessionLost, "idle timeout"),
    (closed('{"code": 1011, "reason": ""}'), RETRY, e.SessionLost, "1011"),
    (closed('{"code": 1013, "reason": ""}'), RETRY, e.EndpointBusy, "1013"),
    (closed('{"code": 1009, "reason": ""}'), FAIL, e.RequestRefused, "1009"),
    (closed('{"code": 4401, "reason": ""}'), FAIL, e.AuthRefused, "4401"),
    (closed('{"code": 401, "reason": "nope"}'), FAIL, e.AuthRefused, "nope"),
    # The session had begun, so a private code that names no known cause is not a refusal of the request.
    *(
        (closed(f'{{"code": {code}}}'), RETRY, e.SessionLost, str(code))
        for code in (4400, 4404, 4409, 4411, 4422, 4499)
    ),
    (closed('{"code": 4402}'), FAIL, e.AccountRefused, "4402"),
    (closed('{"code": 4429, "reason": "later"}'), RETRY, e.EndpointBusy, "later"),
    (closed('{"code": 3000, "reason": ""}'), FAIL, e.AuthRefused, "3000"),
    (closed('{"code": 1006, "reason": {"message": "Payment required"}}'), FAIL, e.AccountRefused, "Payment required"),
]


def decision_of(wire: str, masker: Masker = MASKER) -> RetryDecision:
    name, *payload = Packet(encoded_packet=wire).data
    session = Session(load({}), RateControl(1.0, 0.0), 0.0)
    session.connected(0.0)
    session.message(mask_message(messages.parse(name, *payload), masker), 1.0)
    return decide(ended(session), URL)


@pytest.mark.parametrize(("wire", "action", "error", "text"), MESSAGES)
def test_an_error_of_a_session(wire: str, action: RetryAction, error: type[e.EndpointError], text: str) -> None:
    decision = decision_of(wire)
    assert (decision.action, type(decision.error)) == (action, error), str(decision.error)
    assert text in str(decision.error)


def test_an_error_of_a_session_may_demand_a_pause() -> None:
    session = Session(load({}), RateControl(1.0, 0.0), 0.0)
    error = {"code": "rate_limited", "message": "wait", "retry_after": 12}
    session.message(messages.parse(messages.ERROR, {"error": error}), 0.0)
    decision = decide(ended(session), URL)
    assert decision.error is not None
    assert (decision.action, decision.error.retry_after_s) == (RETRY, 12.0)


def websocket_close(code: int, reason: str = "") -> Lost:
    return Lost(close_text(code, reason), code, reason)


@pytest.mark.parametrize(
    ("lost", "action", "error"),
    [
        (Lost("transport error"), RETRY, e.EndpointUnavailable),
        (Lost("server disconnect"), RETRY, e.EndpointUnavailable),
        (Lost("ping timeout"), RETRY, e.EndpointUnavailable),
        (Lost("HTTP 400 to a message: HTTP 400"), RETRY, e.EndpointUnavailable),
        (Lost("HTTP 402 to a message: HTTP 402: Insufficient credits"), FAIL, e.AccountRefused),
        (Lost("HTTP 401 to a message: HTTP 401: Invalid API key"), FAIL, e.AuthRefused),
        (websocket_close(1008, "Invalid API key"), FAIL, e.AuthRefused),
        (websocket_close(1008, "insufficient credits"), FAIL, e.AccountRefused),
        (websocket_close(4401), FAIL, e.AuthRefused),
        (websocket_close(4402, "bye"), FAIL, e.AccountRefused),
        (websocket_close(4429), RETRY, e.EndpointBusy),
        (websocket_close(1013, "try again later"), RETRY, e.EndpointBusy),
        (websocket_close(1000), RETRY, e.EndpointUnavailable),
        (websocket_close(1001, "going away"), RETRY, e.EndpointUnavailable),
        (websocket_close(1011, "internal error"), RETRY, e.EndpointUnavailable),
    ],
)
def test_the_reason_of_a_lost_connection_decides_its_retry(
    lost: Lost, action: RetryAction, error: type[e.EndpointError]
) -> None:
    session = Session(load({}), RateControl(1.0, 0.0), 0.0)
    session.disconnected(lost, 0.0)
    decision = decide(ended(session), URL)
    assert (decision.action, type(decision.error)) == (action, error)
    assert lost.reason in str(decision.error)


@pytest.mark.parametrize("status", [400, 403])
def test_after_a_success_such_a_refusal_is_retried(status: int) -> None:
    made = response(http(status, JSON, '{"message": "no"}')).error(URL)
    assert after_refusal(made, key_accepted=False).action is FAIL
    assert after_refusal(made, key_accepted=True).action is RETRY


@pytest.mark.parametrize("status", [401, 402])
def test_after_a_success_a_refused_key_or_account_fails(status: int) -> None:
    assert after_refusal(response(http(status)).error(URL), key_accepted=True).action is FAIL


HOSTILE = f"bad\r\n\x1b[31mred\x00 \u202eevil {KEY} " + "x" * 100_000


@pytest.mark.parametrize(
    "message",
    [
        lambda: str(response(http(400, "", HOSTILE)).error(URL)),
        lambda: str(response(http(502, HTML, f"<title>{HOSTILE[:900]}</title>")).error(URL)),
        lambda: str(refusals.of_packet({"message": HOSTILE}, MASKER.text).error(URL)),
        lambda: str(decision_of(err(_json(HOSTILE))).error),
        lambda: str(decision_of(closed(f'{{"code": 1008, "reason": {_json(HOSTILE)}}}')).error),
    ],
)
def test_texts_are_bounded_and_clean_and_contain_no_key(message: Any) -> None:
    text = message()
    assert len(text) < MAX_TEXT + 300
    assert not re.search(r"[\x00-\x1f\x7f\u202e]", text)
    assert KEY[:8] not in text
    assert "bad" in text


def test_no_part_of_a_key_at_the_limit_of_the_text_is_shown() -> None:
    for length in range(MAX_TEXT - 30, MAX_TEXT + 5):
        text = str(decision_of(err(_json("y" * length + KEY))).error)
        assert "sk-" not in text


def _json(text: str) -> str:
    import json

    return json.dumps(text)


def test_every_name_of_the_table_decides() -> None:
    assert not set(error_table.KIND_OF_NAME) & set(error_table.KIND_OF_GENERAL_NAME)
    for name, kind in error_table.KIND_OF_NAME.items():
        assert error_table.known_name(name) == name, "no name is the spelling of another one"
        for shape in (name, {"code": name}, {"error": {"type": name.upper(), "message": "text"}}, f"{name}: text"):
            facts = read_error(shape)
            assert error_table.kind_of(facts.names, facts.text) is kind, (name, shape)
    assert set(error_table.ACTIONS) == set(ErrorKind)
