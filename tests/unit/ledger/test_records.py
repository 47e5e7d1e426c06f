"""Damaged records of the ledger are skipped; they do not hide other records or end a command."""

from __future__ import annotations

import json
from math import inf

import pytest

from tasks.job_spec import JobStatus, source_of
from worker.errors import LedgerNewer
from worker.ledger.readable_records import passable, readable
from worker.ledger.records import FIELDS, read_record

GOOD = {"state": "done", "spec": '{"source": "/a.wav"}', "created": "1790000000000", "attempts": "1", "epoch": "2"}
DEEP = "[" * 100_000 + "]" * 100_000
WRONG = {
    **{f"{name} {value[:20]}": {name: value}
       for name in ("attempts", "epoch", "commits", "duration_s", "sent_s", "committed_s")
       for value in ("inf", "-inf", "nan", "x", "1e300", "9" * 5000)},
    **{f"speed {value}": {"speed": value} for value in ("nan", "-inf", "x", "1e300")},
    **{f"{name} {value[:20]}": {name: value} for name in ("created", "started", "ended", "lease")
       for value in ("9" * 30, "9" * 5000, "-1", "-99999999999999999", "x", "1.5", "inf")},
    **{f"{name} {value[:20]}": {name: value} for name in ("outputs", "warnings")
       for value in (DEEP, "[1, 2]", "null", '{"a": 1}', '"x"', "[[]]", "{", "[null]")},
    **{f"quality {value[:20]}": {"quality": value} for value in (DEEP, "1", "{", "[]")},
}  # fmt: skip


@pytest.mark.parametrize("changed", WRONG.values(), ids=list(WRONG))
def test_a_record_with_an_invalid_field_is_skipped(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  of json, pydantic and ours
        read_record("a", {**GOOD, **changed})
    answer = [{**GOOD, **changed}.get(name) for name in FIELDS]
    assert passable("a", answer) is None


def test_a_state_of_a_newer_version_does_not_hide_other_jobs() -> None:
    answer = [{**GOOD, "state": "archived"}.get(name) for name in FIELDS]
    assert passable("a", answer) is None
    with pytest.raises(LedgerNewer, match="'archived'"):
        readable("a", answer)


@pytest.mark.parametrize("spec", ["", DEEP, "[1]", "null", "{", '{"a":' * 50_000, "\\xff\\xfe"])
def test_an_invalid_spec_is_shown_without_a_source(spec: str) -> None:
    record = read_record("a", {**GOOD, "spec": spec})
    assert record is not None
    assert source_of(record) == ""
    assert JobStatus.of(record).source == ""


def test_records_of_the_ledger_are_read() -> None:
    fields = {
        **GOOD,
        "speed": str(inf),
        "outputs": json.dumps(["/out/a.json"]),
        "ended": "253402300799000",
        "lease": "0",
    }
    record = read_record("a", fields)
    assert record is not None
    assert (record.progress.speed, record.outputs, record.lease_until) == (inf, ("/out/a.json",), 0.0)
