"""Existing files in the output folder: the job they belong to, and whether they are complete."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.cli.sources.existing_outputs import all_written, check_no_folders, document_of, finished_transcript
from tasks.job_spec import JobSpec
from tests.support.samples_of import a_segment, a_transcript
from worker.errors import OutputError
from worker.storage.outputs.local_files import LocalOutputs, write
from worker.transcript.model import Gap, Transcript


def spec_of(folder: Path, *formats: str) -> JobSpec:
    return JobSpec(source="/audio/a.wav", out_dir=str(folder), out_name="x/a", formats=formats or ("json", "srt"))


def written(folder: Path, transcript: Transcript, *formats: str) -> None:
    write(transcript, LocalOutputs(folder, "x/a", formats or ("json", "srt")))


def test_the_files_of_a_job_show_that_it_is_done(tmp_path: Path) -> None:
    transcript, spec = a_transcript("j", (a_segment(),)), spec_of(tmp_path)
    assert not all_written(spec, None)
    written(tmp_path, transcript)
    assert all_written(spec, None)
    assert document_of(spec, "j") == tmp_path / "x" / "a.json"
    assert finished_transcript(spec, "j") == transcript
    assert finished_transcript(spec, "k") is None


@pytest.mark.parametrize("what", ["nothing", "no srt", "no json asked", "cut off", "incomplete", "not json"])
def test_files_that_do_not_show_that_a_job_is_done(tmp_path: Path, what: str) -> None:
    transcript, spec = a_transcript("j", (a_segment(),)), spec_of(tmp_path)
    document = tmp_path / "x" / "a.json"
    if what == "no srt":
        written(tmp_path, transcript, "json")
    elif what == "no json asked":
        spec = spec_of(tmp_path, "srt")
        written(tmp_path, transcript)
    elif what == "incomplete":
        gap = Gap(start=0, end=1, reason="gone")
        coverage = transcript.coverage.model_copy(update={"missing": (gap,)})
        written(tmp_path, transcript.model_copy(update={"coverage": coverage}))
    elif what != "nothing":
        written(tmp_path, transcript)
        document.write_bytes(document.read_bytes()[:300] if what == "cut off" else b'{"job_id": "j"}')
    assert finished_transcript(spec, "j") is None


@pytest.mark.parametrize("what", ["no srt", "srt emptied", "json emptied", "json cut off", "srt is a folder"])
def test_files_that_are_not_as_the_job_wrote_them(tmp_path: Path, what: str) -> None:
    spec = spec_of(tmp_path)
    written(tmp_path, a_transcript("j", (a_segment(),)))
    document, subtitles = tmp_path / "x" / "a.json", tmp_path / "x" / "a.srt"
    ended_at = document.stat().st_mtime
    assert all_written(spec, ended_at)
    if what.startswith("json"):
        document.write_bytes(b"" if what == "json emptied" else document.read_bytes()[:-9])
    else:
        subtitles.unlink()
    if what == "srt emptied":
        subtitles.touch()
        os.utime(subtitles, (ended_at + 60, ended_at + 60))
    elif what == "srt is a folder":
        subtitles.mkdir()
    assert not all_written(spec, ended_at)


def test_empty_subtitles_of_a_recording_without_speech_are_complete(tmp_path: Path) -> None:
    written(tmp_path, a_transcript("j", ()))
    assert (tmp_path / "x" / "a.srt").read_bytes() == b""
    assert all_written(spec_of(tmp_path), (tmp_path / "x" / "a.json").stat().st_mtime)


def test_a_folder_with_the_name_of_an_output_file_is_an_error(tmp_path: Path) -> None:
    check_no_folders(spec_of(tmp_path))
    (tmp_path / "x" / "a.srt").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"a\.srt: a folder has this name; move it away"):
        check_no_folders(spec_of(tmp_path))
