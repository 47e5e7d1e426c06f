"""An intake entry with any content becomes a request, or a refusal with the reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.background.intake import MAX_BYTES, MAX_DELIVERIES, StreamEntry, read_request
from worker.errors import BadJob


def entry(deliveries: int = 1, **fields: bytes | str) -> StreamEntry:
    return StreamEntry(
        "1-0", deliveries, {k.encode(): v if isinstance(v, bytes) else v.encode() for k, v in fields.items()}
    )


GOOD = '{"source": "/audio/call.wav"}'


def test_a_good_entry() -> None:
    request = read_request(entry(job='{"source": "/audio/電話.wav", "priority": "high"}', key="call-7", force="1"))
    assert (request.spec.source.text, request.spec.priority) == ("/audio/電話.wav", "high")
    assert (request.key, request.force) == ("call-7", True)
    assert read_request(entry(job=GOOD)).key is None
    assert read_request(entry(job='{"source": "s3://bucket/call.wav"}')).spec.source.text == "s3://bucket/call.wav"


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        (entry(), "field 'job' is missing"),
        (entry(job="no json"), "Invalid JSON"),
        (entry(job="[" * 5000), "Invalid JSON"),
        (entry(job='"text"'), "object"),
        (entry(job="null"), "object"),
        (entry(job="{}"), "source: Field required"),
        (entry(job='{"source": 5}'), "source"),
        (entry(job='{"source": "/a", "sauce": 1}'), "sauce: Extra inputs"),
        (entry(job='{"source": "/a", "formats": ["exe"]}'), "formats: must be some of json"),
        (entry(job='{"source": "/a", "out_name": "../../etc/passwd"}'), "out_name: must be a path inside out_dir"),
        (entry(job='{"source": "/a", "speed": -1}'), "speed"),
        (entry(job='{"source": "call.wav"}'), "source: must be an absolute path"),
        (entry(job='{"source": "/a", "out_dir": "results"}'), "out_dir: must be an absolute path"),
        (entry(job=json.dumps({"source": "/a\0b"})), "control characters"),
        (entry(job='{"source": "/\\ud800"}'), "Invalid JSON"),
        (entry(job=GOOD, jbo="1"), "unknown field 'jbo'; known fields: force, job, key"),
        (entry(job=GOOD, force="yes"), "force"),
        (entry(job=b'{"source": "/\xff\xfe"}'), "not UTF-8"),
        (entry(job=b"\0" * 10), "Invalid JSON"),
        (entry(job=b"x" * (MAX_BYTES + 1)), "more than 65536 bytes"),
        (StreamEntry("1-0", 1, {b"\xff": b""}), r"unknown field '\\\\xff'"),
        (entry(MAX_DELIVERIES + 1, job=GOOD), "delivered 5 times and never answered"),
    ],
)
def test_poison_is_refused_with_its_reason(poison: StreamEntry, reason: str) -> None:
    with pytest.raises(BadJob, match=reason.replace("[", r"\[")):
        read_request(poison)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["source", "speed", "batch"]), inner),
    max_leaves=8,
)
documents = json_values.map(lambda value: json.dumps(value).encode())
names = st.sampled_from([b"job", b"key", b"force"]) | st.binary(max_size=8)
values = st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | documents


@given(st.dictionaries(names, values, max_size=4), st.integers(1, 9))
def test_any_entry_becomes_a_request_or_a_refusal(fields: dict[bytes, bytes], deliveries: int) -> None:
    try:
        request = read_request(StreamEntry("1-0", deliveries, fields))
    except BadJob:
        return
    assert request.spec.source
