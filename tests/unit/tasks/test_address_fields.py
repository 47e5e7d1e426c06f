"""Addresses in the fields of a job: parsed once, text in JSON."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tasks import address_fields
from tasks.job_spec import JobSpec
from worker.storage.address import Address, parse

SIGNED = "https://host/a.wav?sig=secret"


def test_the_json_has_the_texts_as_they_were_given() -> None:
    fields = {"source": SIGNED, "out_dir": ["/out//x/", "S3://texts"], "webhook": "https://HOST./hook?token=1"}
    spec = JobSpec.model_validate(fields)
    assert {name: json.loads(spec.model_dump_json())[name] for name in fields} == fields
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    one = JobSpec.model_validate({"source": "a.wav", "out_dir": "/out"})
    assert json.loads(one.model_dump_json())["out_dir"] == "/out"


def test_an_address_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counted(text: str) -> Address:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(address_fields, "parse", counted)
    spec = JobSpec.model_validate({"source": SIGNED, "out_dir": ["/out", "s3://b"], "webhook": "https://host/hook"})
    assert parsed == [SIGNED, "/out", "s3://b", "https://host/hook"]
    again = JobSpec(source=spec.source, out_dir=[*spec.out_dirs, "/other"], webhook=spec.webhook)
    assert parsed[4:] == ["/other"]
    assert again.source is spec.source


def test_limits_hold_for_addresses_that_are_parsed_already() -> None:
    long = parse("/" + "x" * 4096)
    for fields in ({"source": long}, {"source": "a.wav", "out_dir": long}, {"source": "a.wav", "out_dir": [long]}):
        with pytest.raises(ValidationError, match="at most 4096 characters"):
            JobSpec.model_validate(fields)
    for fields in ({"source": parse("/a\nb.wav")}, {"source": "a.wav", "webhook": parse("/hook")}):
        with pytest.raises(ValidationError, match=r"control characters|must be an https"):
            JobSpec.model_validate(fields)


def test_a_job_in_a_message_or_a_log_line_has_no_secret() -> None:
    spec = JobSpec.model_validate({"source": SIGNED, "webhook": "https://host/hook?token=secret"})
    assert "secret" not in f"{spec!r} {spec}"
