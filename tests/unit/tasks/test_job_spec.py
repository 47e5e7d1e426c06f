"""Job specifications: refused values, and the identity of jobs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.client.producer import make_spec
from tasks.job_spec import BatchStatus, JobSpec, JobState, JobStatus, job_id, problems, recorded
from worker.errors import BadJob, SourceRefused
from worker.ledger.records import FIELDS, read_record
from worker.storage.address import parse
from worker.transcript.subtitles.style import Style

SHA = "ab" * 32


@pytest.mark.parametrize(
    "fields",
    [
        {"source": ""},
        {"sauce": "a.wav"},
        {"source": "a.wav", "formats": ["doc"]},
        {"source": "a.wav", "formats": []},
        {"source": "a.wav", "speed": 0},
        {"source": "a.wav", "speed": "fast"},
        {"source": "a.wav", "out_name": "../a"},
        {"source": "a.wav", "out_name": "/a"},
        {"source": "a.wav", "out_name": ""},
        {"source": "a.wav", "extra": 1},
        {"source": "a.wav", "channels": 0},
        {"source": "a.wav", "channels": "left"},
        {"source": "a.wav", "channel_names": ["a"]},
        {"source": "a.wav", "channels": "split", "channel_names": ["a", "a"]},
    ],
)
def test_what_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate(fields)


def test_a_job_survives_json() -> None:
    spec = JobSpec(source="a.wav", out_dir="/out", out_name="x/a", formats=("srt", "json", "srt"), speed=math.inf)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.formats == ("srt", "json")
    assert [file.text for file in spec.outputs()] == ["/out/x/a.srt", "/out/x/a.json"]
    assert JobSpec(source="/in/call.v2.wav").output_name == "call.v2"
    assert JobSpec(source="a.wav").outputs() == ()


def test_a_style_is_checked() -> None:
    spec = JobSpec.model_validate({"source": "a.wav", "style": {"preset": "netflix-zh-hant", "script": "hk"}})
    assert spec.style == Style(preset="netflix-zh-hant", script="hk")
    with pytest.raises(BadJob, match=r"style\.preset: .*'netflix-en'"):
        make_spec("a.wav", style={"preset": "hbo"})


def test_identity() -> None:
    spec = JobSpec(source="/in/a.wav", out_dir="/out")
    same = [
        spec.model_copy(update={"batch": "b"}),
        spec.model_copy(update={"speed": math.inf}),
        spec.model_copy(update={"source": parse("/elsewhere/b.wav")}),
        spec.model_copy(update={"style": Style(preset="netflix-en")}),
    ]
    other = [
        spec.model_copy(update={"formats": ("srt",)}),
        spec.model_copy(update={"language": "yue"}),
        spec.model_copy(update={"out_dir": parse("/out2")}),
        spec.model_copy(update={"out_name": "b"}),
        spec.model_copy(update={"channels": "split"}),
        spec.model_copy(update={"channels": 1}),
        spec.model_copy(update={"channels": 2}),
        spec.model_copy(update={"channels": "split", "channel_names": ("a", "b")}),
    ]
    identity = job_id(spec, SHA)
    assert {job_id(each, SHA) for each in same} == {identity}
    ids = {identity, job_id(spec, "cd" * 32), job_id(spec, SHA, scope="x"), *(job_id(each, SHA) for each in other)}
    assert len(ids) == 3 + len(other)


def test_channels_survive_json_and_change_no_older_identity() -> None:
    spec = JobSpec.model_validate_json('{"source": "a.wav", "channels": "2", "channel_names": "agent; customer"}')
    assert (spec.channels, spec.channel_names) == (2, ("agent", "customer"))
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    # The id that versions without channels computed for this job.
    assert job_id(JobSpec(source="a.wav", out_dir="/out"), SHA) == "f7eeb8bf5bedd2ccf555918e"


def test_make_spec_names_the_problem_and_makes_paths_absolute() -> None:
    spec = make_spec("a.wav", out_dir="out")
    assert spec.source.path.is_absolute()
    assert [folder.path.is_absolute() for folder in spec.out_dirs] == [True]
    with pytest.raises(BadJob, match=r"a\.wav: formats: must be some of json"):
        make_spec("a.wav", formats=("doc",))


def test_status_of_a_batch() -> None:
    def record(state: JobState) -> object:
        return read_record("id", {**dict.fromkeys(FIELDS), "state": state, "spec": '{"source": "a.wav"}'})

    status = BatchStatus.of("b", [record(JobState.DONE), None, record(JobState.DONE), record(JobState.RUNNING)])  # type: ignore[list-item]
    assert (status.total, status.counts, status.ended) == (4, {JobState.DONE: 2, JobState.RUNNING: 1}, False)
    assert isinstance(status.jobs[0], JobStatus)
    assert JobStatus.model_validate_json(status.jobs[0].model_dump_json()) == status.jobs[0]


def test_which_states_are_ends() -> None:
    assert {state for state in JobState if not state.ended} == {JobState.QUEUED, JobState.RUNNING}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"source": "ftp://host/a.wav"}, "ftp:// is not supported"),
        ({"source": "https://me:secret@host/a.wav"}, "must not contain a user"),
        ({"source": "s3:///a.wav"}, "names no bucket"),
        ({"source": "a.wav", "out_dir": "https://host/out"}, "must be a folder"),
        ({"source": "a.wav", "out_dir": ["/out", "s3://"]}, "names no bucket"),
    ],
)
def test_addresses_that_are_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        JobSpec.model_validate(fields)
    assert "secret" not in str(caught.value.errors(include_input=False))


def test_several_places_for_the_files() -> None:
    spec = JobSpec.model_validate_json('{"source": "s3://in/x/call.wav", "out_dir": ["/out", "s3://texts/2026"]}')
    assert spec.out_dirs == (parse("/out"), parse("s3://texts/2026"))
    assert [file.text for file in spec.outputs()] == ["/out/call.json", "s3://texts/2026/call.json"]
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert job_id(spec, SHA) != job_id(spec.model_copy(update={"out_dir": parse("/out")}), SHA)


def test_addresses_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = make_spec("s3://in/a.wav", out_dir=["out", "gs://texts"])
    assert spec.source == parse("s3://in/a.wav")
    assert spec.out_dirs == (parse(str(tmp_path / "out")), parse("gs://texts"))
    with pytest.raises(BadJob) as caught:
        make_spec("https://u:secret@host/a.wav")
    assert "secret" not in str(caught.value)


def test_a_signed_address_is_shown_without_its_signature() -> None:
    spec = JobSpec(source="https://host/a.wav?X-Amz-Signature=secret").model_dump_json()
    record = read_record("a", dict.fromkeys(FIELDS) | {"state": "queued", "spec": spec, "created": "0"})
    assert record is not None
    assert JobStatus.of(record).source == "https://host/a.wav?…"


def test_every_list_and_text_of_a_job_has_a_limit() -> None:
    long = "x" * 5000
    fields: dict[str, Any] = {
        "source": f"/{long}",
        "out_dir": f"/{long}",
        "out_name": long,
        "formats": ["json"] * 33,
        "speed": long,
        "channels": long,
        "channel_names": ["x"] * 2000,
        "language": long,
        "priority": long,
        "batch": long,
        "webhook": f"https://example.com/{long}",
        "style": {"preset": long},
        "sessions": 10**9,
        "track": 10**9,
        "glossary": [["heard", long]],
        "session_options": {"text": long},
        "retain_s": 10**9,
    }
    unlimited = {"skip_silence"}
    assert {*fields} | unlimited == set(JobSpec.model_fields), "a new field needs a limit and a line here"
    more = [("out_dir", [f"/{n}" for n in range(17)]), ("formats", [long]), ("channel_names", [long])]
    for name, value in [*fields.items(), *more]:
        with pytest.raises(ValidationError) as refused:
            JobSpec.model_validate(
                {"source": "/a.wav", **({"channels": "split"} if "names" in name else {}), name: value}
            )
        assert any(error["loc"][0] == name for error in refused.value.errors()), name
        assert len(problems(refused.value)) < 1000, name


def test_another_track_is_another_job_and_the_default_is_what_it_was() -> None:
    spec = JobSpec(source="/a.mkv")
    assert "track" not in spec.model_dump_json()
    chosen = [JobSpec(source="/a.mkv", track=track) for track in (1, "2", "all")]
    assert [one.track for one in chosen] == [1, 2, "all"]
    assert len({job_id(one, "content") for one in (spec, *chosen)}) == 4
    assert recorded(chosen[2].model_dump_json()).track == "all"
    with pytest.raises(ValidationError, match="channel 2 cannot be selected from all tracks"):
        JobSpec(source="/a.mkv", track="all", channels=2)
    with pytest.raises(ValidationError, match="must be all, or the number of an audio track"):
        JobSpec(source="/a.mkv", track="eng")


@pytest.mark.parametrize("character", ["\0", "\n", "\t", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize(
    "fields",
    [
        {"source": "/audio/a{}.wav"},
        {"source": "s3://bucket/a{}.wav"},
        {"source": "/audio/a.wav", "out_name": "a{}"},
        {"source": "/audio/a.wav", "out_dir": "/results/a{}"},
        {"source": "/audio/a.wav", "out_dir": ["/results", "s3://bucket/a{}"]},
    ],
)
def test_control_characters_are_refused_where_names_enter(fields: dict[str, Any], character: str) -> None:
    filled = json.loads(json.dumps(fields).replace("{}", json.dumps(character)[1:-1]))
    with pytest.raises(ValidationError, match="control characters"):
        JobSpec.model_validate(filled)


def test_an_address_hides_no_control_characters_behind_percent_signs() -> None:
    with pytest.raises(ValidationError, match=r"must not contain control characters \(U\+000A\)"):
        JobSpec(source="https://example.com/a%0Ab.wav")


def test_a_name_that_an_older_version_recorded_fails_by_its_reason() -> None:
    with pytest.raises(SourceRefused, match="source must not contain control characters"):
        recorded('{"source": "/audio/a\\tb.wav"}')


def test_a_file_with_a_control_character_in_its_name_is_refused_by_itself(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"a\\u000ab\.wav: the name must not contain control characters"):
        make_spec(tmp_path / "a\nb.wav")
