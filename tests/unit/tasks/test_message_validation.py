"""Validation of raw queue messages: every kind of message that ended a worker is refused with its reason."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.broker import kombu_transport
from tasks.broker.eta_limit import MAX_MESSAGES, EtaBudget
from tasks.broker.message_validation import MAX_MESSAGE_BYTES, MessageRefused, job_request, rebuilt
from tasks.client import celery_message

JOB = {"source": "/audio/a.wav"}


def wrapped(body: Any) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


def envelope(**changes: Any) -> dict[str, Any]:
    """Return a valid message. `a__b=…` changes the field `b` of the field `a`; the value `DROP` removes a field."""
    made = json.loads(celery_message.message("job-1", "stt"))
    for path, value in changes.items():
        *way, last = path.split("__")
        at = made
        for name in way:
            at = at[name]
        if value is DROP:
            at.pop(last, None)
        else:
            at[last] = value
    return made


DROP = object()


def arguments(raw: bytes) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    args, kwargs, embed = json.loads(base64.b64decode(json.loads(rebuilt(raw, "stt"))["body"]))
    return args, kwargs, embed


def of(message: Any) -> bytes:
    return json.dumps(message).encode()


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


WRONG: dict[str, bytes] = {
    "not JSON": b"{",
    "nothing": b"",
    "a number": b"7",
    "a text": b'"x"',
    "null": b"null",
    "a list": b"[]",
    "not UTF-8": b'{"body": "\xff"}',
    "NaN": b'{"body": NaN}',
    "a number of 5,000 digits": b"9" * 5000,
    "deep nesting": nested(100_000).encode(),
    "deep nesting in a field": b'{"body": ' + nested(50).encode() + b"}",
    "huge": b" " * (MAX_MESSAGE_BYTES + 1),
    **{
        name: of(message)
        for name, message in {
            "timelimit is a text": envelope(headers__timelimit="1"),
            "timelimit has one element": envelope(headers__timelimit=[None]),
            "timelimit is set": envelope(headers__timelimit=[1, None]),
            "id is a list": envelope(headers__id=["x"]),
            "id is missing": envelope(headers__id=DROP),
            "id is empty": envelope(headers__id=""),
            "id has a control character": envelope(headers__id="a\nb"),
            "headers is a list": envelope(headers=["x"]),
            "headers is null, without protocol 1": envelope(headers=None),
            "delivery_tag is a list": envelope(properties__delivery_tag=["x"]),
            "properties is null": envelope(properties=None),
            "properties is a list": envelope(properties=[]),
            "delivery_info is a number": envelope(properties__delivery_info=1),
            "body is an empty object": envelope(body=wrapped({})),
            "body is a number": envelope(body=wrapped(7)),
            "body is no text": envelope(body=7),
            "body is null": envelope(body=None),
            "body is empty": envelope(body=""),
            "body has two elements": envelope(body=wrapped([[], {}])),
            "body is nested deeply": envelope(body=base64.b64encode(nested(5000).encode()).decode()),
            "body is not base64": envelope(body="%%%"),
            "body is not JSON": envelope(body=base64.b64encode(b"x").decode()),
            "body is not UTF-8": envelope(body=base64.b64encode(b"\xff").decode()),
            "body_encoding is unknown": envelope(properties__body_encoding="rot13"),
            "body_encoding is a number": envelope(properties__body_encoding=64),
            "content-type is pickle": envelope(**{"content-type": "application/x-python-serialize"}),
            "content-type is a list": envelope(**{"content-type": []}),
            "content-type is missing": envelope(**{"content-type": DROP}),
            "content-encoding is unknown": envelope(**{"content-encoding": "utf-7"}),
            "content-encoding is a number": envelope(**{"content-encoding": 8}),
            "compression is unknown": envelope(headers__compression="bzip2"),
            "compression is a list": envelope(headers__compression=["gzip"]),
            "compression without compressed data": envelope(headers__compression="gzip"),
            "stamped_headers is a number": envelope(headers__stamped_headers=5),
            "stamped_headers has numbers": envelope(headers__stamped_headers=[5]),
            "stamps is a text": envelope(headers__stamps="x"),
            "stamps has objects": envelope(headers__stamped_headers=["a"], headers__stamps={"a": {}}),
            "task is unknown": envelope(headers__task="tasks.other"),
            "task is one of Celery": envelope(headers__task="celery.backend_cleanup"),
            "task is a list": envelope(headers__task=["tasks.transcribe"]),
            "eta is a number": envelope(headers__eta=5),
            "eta is no time": envelope(headers__eta="soon"),
            "eta is beyond the calendar": envelope(headers__eta="0001-01-01T00:00:00+14:00"),
            "eta is far ahead": envelope(headers__eta="9999-01-01T00:00:00"),
            "expires is an object": envelope(headers__expires={}),
            "retries is a text": envelope(headers__retries="1"),
            "retries is true": envelope(headers__retries=True),
            "ignore_result is a text": envelope(headers__ignore_result="yes"),
            "group is a list": envelope(headers__group=[]),
            "priority is a text": envelope(properties__priority="high"),
            "priority is a list": envelope(properties__priority=[]),
            "correlation_id is an object": envelope(properties__correlation_id={}),
            "reply_to is a list": envelope(properties__reply_to=[1]),
            "args is an object": envelope(body=wrapped([{}, {}, None])),
            "kwargs is a list": envelope(body=wrapped([[], [], None])),
            "embed is a list": envelope(body=wrapped([["id"], {}, []])),
            "callbacks is an object": envelope(body=wrapped([["id"], {}, {"callbacks": {"a": 1}}])),
            "a callback is a number": envelope(body=wrapped([["id"], {}, {"callbacks": [1]}])),
            "no job": envelope(body=wrapped([[], {}, None])),
            "three arguments": envelope(body=wrapped([["id", JOB, 1], {}, None])),
            "an argument twice": envelope(body=wrapped([["id"], {"job_id": "id"}, None])),
            "an unknown argument": envelope(body=wrapped([[], {"source": "/a.wav"}, None])),
            "job_id with a colon": envelope(body=wrapped([[], {"job_id": "ID:commits"}, None])),
            "job_id is a number": envelope(body=wrapped([[5], {}, None])),
            "job_id is a list": envelope(body=wrapped([[], {"job_id": ["x"]}, None])),
            "job_id is too long": envelope(body=wrapped([["x" * 129], {}, None])),
            "job is a text": envelope(body=wrapped([[], {"job": "/a.wav"}, None])),
            "job is no job": envelope(body=wrapped([[{"sauce": "x"}], {}, None])),
            "job has half a character": envelope(body=wrapped([[{"source": "/\ud800.wav"}], {}, None])),
        }.items()
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_a_message_of_the_wrong_form_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        rebuilt(WRONG[name], "stt")
    assert 5 < len(str(refused.value)) < 600
    assert str(refused.value).isprintable()


def test_a_decompression_bomb_is_refused() -> None:
    bomb = base64.b64encode(zlib.compress(b" " * 50_000_000)).decode()
    with pytest.raises(MessageRefused, match="decompresses to more than"):
        rebuilt(of(envelope(headers__compression="application/x-gzip", body=bomb)), "stt")


def test_the_wake_up_of_our_own_producer_is_taken() -> None:
    raw = celery_message.message("job-1", "stt").encode()
    made, again = json.loads(rebuilt(raw, "stt")), json.loads(rebuilt(raw, "stt"))
    assert arguments(raw)[:2] == ([], {"job_id": "job-1"})
    assert made["headers"]["id"] == json.loads(raw)["headers"]["id"]
    assert made["properties"]["delivery_info"] == {"exchange": "", "routing_key": "stt"}
    assert made["properties"]["delivery_tag"] != again["properties"]["delivery_tag"], "a tag is never used twice"


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (["id"], {}, {"job_id": "id"}),
        ([JOB], {}, {"job": JOB}),
        (["id", JOB], {}, {"job_id": "id", "job": JOB}),
        ([None, JOB], {}, {"job": JOB}),
        (["id"], {"job": JOB}, {"job_id": "id", "job": JOB}),
        ([], {"job_id": JOB}, {"job": JOB}),
        ([], {"job": JOB}, {"job": JOB}),
        ([], {"job_id": "id", "job": None}, {"job_id": "id"}),
    ],
)
def test_a_job_is_taken_in_every_natural_form(args: Any, kwargs: Any, expected: Any) -> None:
    assert arguments(of(envelope(body=wrapped([args, kwargs, None]))))[:2] == ([], expected)


def test_other_encodings_and_protocols_are_read() -> None:
    body = json.dumps([["id"], {}, None])
    plain = envelope(body=body, properties__body_encoding=DROP)
    assert arguments(of(plain))[1] == {"job_id": "id"}
    for packed in (zlib.compress(body.encode()), gzip.compress(body.encode())):
        raw = of(envelope(headers__compression="gzip", body=base64.b64encode(packed).decode()))
        assert arguments(raw)[1] == {"job_id": "id"}
    first = {"task": "tasks.transcribe", "id": "1", "args": ["id"], "kwargs": {}, "retries": 0, "eta": None}
    for headers in (None, {}, DROP):
        raw = of(envelope(headers=headers, body=wrapped(first)))
        assert arguments(raw)[1] == {"job_id": "id"}
        assert json.loads(rebuilt(raw, "stt"))["headers"]["id"] == "1"


def test_messages_of_celery_are_passed_on() -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    raw = of(
        envelope(
            body=wrapped([["id"], {}, {"callbacks": None, "errbacks": [], "chain": None, "chord": None}]),
            headers__eta=soon.isoformat(),
            headers__expires=soon.replace(tzinfo=None).isoformat(),
            headers__retries=2,
            headers__timelimit=[None, None],
            headers__stamped_headers=["batch"],
            headers__stamps={"batch": "b"},
            headers__shadow=None,
            headers__get="an attribute of Celery",
            properties__priority=12,
        )
    )
    made = json.loads(rebuilt(raw, "stt"))
    assert (made["headers"]["eta"], made["headers"]["retries"]) == (soon.isoformat(), 2)
    assert made["headers"]["expires"] == soon.isoformat()
    assert made["headers"]["stamps"] == {"batch": "b"}
    assert made["properties"]["priority"] == 9
    assert "get" not in made["headers"]
    assert not any(arguments(raw)[2].values())


NEXT = {"task": "other.done", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": True}


@pytest.mark.parametrize(
    ("word", "embed"),
    [
        ("link ", {"callbacks": [NEXT]}),
        ("link_error", {"errbacks": [NEXT]}),
        ("a chain", {"chain": [NEXT]}),
        ("a chord", {"chord": NEXT}),
        ("link ", {"callbacks": [{**NEXT, "subtask_type": "group"}]}),
    ],
)
@pytest.mark.parametrize("protocol", [1, 2])
def test_a_message_that_names_a_following_task_is_refused_with_the_alternatives(
    word: str, embed: dict[str, Any], protocol: int
) -> None:
    """Celery would call the task at the end of another job, and link_error never: failed jobs are in the ledger."""
    first = {"task": "tasks.transcribe", "id": "1", "args": ["id"], "kwargs": {}, **embed}
    raw = envelope(body=wrapped([["id"], {}, embed])) if protocol == 2 else envelope(headers={}, body=wrapped(first))
    if protocol == 1 and "chain" in embed:
        raw = envelope(body=wrapped([["id"], {}, embed]))  # protocol 1 has no chains
    with pytest.raises(MessageRefused) as refused:
        rebuilt(of(raw), "stt")
    assert word in str(refused.value)
    assert all(other in str(refused.value) for other in ("webhook", "stt:events", "handle"))


def test_the_texts_for_flower_contain_no_fields_of_a_job() -> None:
    job = {"source": "https://host/a.wav?signature=secret"}
    raw = of(envelope(body=wrapped([[job], {}, None]), headers__argsrepr=str([job]), headers__kwargsrepr=str(job)))
    headers = json.loads(rebuilt(raw, "stt"))["headers"]
    assert "secret" not in json.dumps(headers)
    assert json.loads(rebuilt(of(envelope()), "stt"))["headers"]["kwargsrepr"] == "{'job_id': 'job-1'}"


def test_messages_for_later_are_bounded_by_number_and_size() -> None:
    budget = EtaBudget(max_messages=3, max_bytes=100)
    assert [budget.take(eta, 10, now=0.0) for eta in (5.0, 9.0, 7.0, 8.0)] == [True, True, True, False]
    assert budget.take(20.0, 80, now=5.0)  # one is over
    assert not budget.take(20.0, 1, now=5.5)  # three are there
    assert not budget.take(20.0, 31, now=9.5)  # 80 bytes are there
    assert budget.take(20.0, 20, now=9.5)


def test_a_channel_refuses_the_message_that_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []
    monkeypatch.setattr(
        kombu_transport.CheckedChannel, "refuse", lambda _self, _raw, _queue, reason, _job="": refused.append(reason)
    )
    channel = object.__new__(kombu_transport.CheckedChannel)
    later = of(envelope(headers__eta=(datetime.now(UTC) + timedelta(hours=11)).isoformat()))
    answers = [channel.checked(b"stt", later) for _ in range(MAX_MESSAGES + 2)]
    assert [answer is not None for answer in answers] == [True] * MAX_MESSAGES + [False] * 2
    assert ["too many messages with an eta" in reason for reason in refused] == [True, True]
    assert channel.checked(b"stt", of(envelope())) is not None


def test_an_eta_that_is_over_is_dropped() -> None:
    raw = of(envelope(headers__eta="2001-01-01T00:00:00Z"))
    assert "eta" not in json.loads(rebuilt(raw, "stt"))["headers"]


def test_a_refusal_names_the_job() -> None:
    with pytest.raises(MessageRefused, match="ID:commits") as refused:
        job_request(["ID:commits"], {})
    assert refused.value.job == "ID:commits"
