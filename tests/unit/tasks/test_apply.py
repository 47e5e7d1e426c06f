"""`stt-batch apply`: the file that a page saves changes the JSON and the files beside it, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tasks.cli import main
from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.transcript.model import Transcript

WITHOUT_SEGMENT = {"id": "revision-1", "created_at": "", "changes": [{"segment": 7, "text": ""}]}
SAID = transcript(segment("Heavy rane.", 0.5, 2.5), segment("Dry.", 3.0, 4.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "transcripts" / "monday"
    found.mkdir(parents=True)
    for fmt in ("json", "srt", "html"):
        (found / f"call.{fmt}").write_text(render(SAID, fmt))
    (found / "summary.json").write_text('{"kind": "stt-batch summary", "job_id": "job"}')
    (found / "other.json").write_text('{"job_id": "job"}')
    return tmp_path


def edits(folder: Path, text: str = "Heavy rain.", name: str = "call.edits.json", **changed: Any) -> Path:
    revision = {"id": f"revision-{name[:4]}", "created_at": "now", "changes": [{"segment": 0, "text": text}]}
    document = {
        "kind": "stt-batch revisions", "schema_version": 1, "job_id": "job", "source_name": "call.wav",
        "source_sha256": "00", "transcript_created_at": SAID.created_at, "base": None, "revisions": [revision],
    } | changed  # fmt: skip
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["apply", *map(str, arguments)], catch_exceptions=False)


def test_the_json_and_the_files_beside_it_are_written_again(folder: Path) -> None:
    done = run(edits(folder), folder / "transcripts")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "1 segment; wrote srt, html, json" in done.stdout
    written = folder / "transcripts" / "monday"
    document = Transcript.model_validate_json((written / "call.json").read_text())
    assert document.segments[0].text == "Heavy rane."
    assert len(document.revisions) == 1
    assert "Heavy rain." in (written / "call.srt").read_text()
    assert "Heavy rain." in (written / "call.html").read_text()
    assert sorted(path.name for path in written.iterdir()) == [
        "call.html",
        "call.json",
        "call.srt",
        "other.json",
        "summary.json",
    ]
    again = run(edits(folder), folder / "transcripts")
    assert (again.exit_code, "already has these corrections" in again.stdout) == (0, True)


def test_export_writes_the_corrected_text(folder: Path) -> None:
    assert run(edits(folder), folder / "transcripts").exit_code == 0
    out = folder / "out"
    arguments = ["export", str(folder / "transcripts"), "--out", str(out), "--format", "txt,json,vtt"]
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    assert (out / "monday" / "call.txt").read_text() == "Heavy rain.\nDry.\n"
    assert "Heavy rain." in (out / "monday" / "call.vtt").read_text()
    assert json.loads((out / "monday" / "call.json").read_text())["segments"][0]["text"] == "Heavy rane."


def test_a_conflict_changes_nothing_and_names_the_remedy(folder: Path) -> None:
    assert run(edits(folder), folder / "transcripts").exit_code == 0
    path = folder / "transcripts" / "monday" / "call.json"
    before = path.read_bytes()
    second = edits(folder, "Heavy reign.", "second.edits.json")
    done = run(second, folder / "transcripts")
    assert done.exit_code == 1
    assert f"{second}: another person has corrected the transcript" in done.stderr
    assert "--force" in done.stderr
    assert path.read_bytes() == before
    assert run(second, folder / "transcripts", "--force").exit_code == 0
    assert "Heavy reign." in path.with_suffix(".srt").read_text()


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    path = folder / "transcripts" / "monday" / "call.json"
    before = path.read_bytes()
    done = run(edits(folder), path, "--dry-run", "--json")
    assert json.loads(done.stdout)["applied"][0] | {"edits": "", "transcript": ""} == {
        "edits": "", "transcript": "", "revisions": 1, "segments": 1, "written": [],
    }  # fmt: skip
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"source_sha256": "11"}, "belongs to another transcript"),
        ({"transcript_created_at": "later"}, "belongs to another transcript"),
        ({"job_id": "other"}, "contains no JSON transcript of call.wav"),
        ({"kind": "x"}, "is not a file of corrections"),
        ({"revisions": [WITHOUT_SEGMENT]}, "segment 7 does not exist"),
        ({"base": "unknown-1"}, "follow revision 'unknown-1'"),
    ],
)  # fmt: skip
def test_corrections_that_do_not_fit_are_refused(folder: Path, changed: dict[str, Any], reason: str) -> None:
    path = edits(folder, **changed)
    done = run(path, folder / "transcripts")
    assert done.exit_code == 1
    assert str(path) in done.stderr
    assert reason in done.stderr


def test_missing_files_are_named(folder: Path) -> None:
    done = run(folder / "gone.edits.json", folder / "transcripts")
    assert done.exit_code == 1
    assert "gone.edits.json: cannot be read: No such file" in done.stderr
    text = folder / "notes.json"
    text.write_text("{}")
    assert "is not a JSON transcript" in run(edits(folder), text).stderr
