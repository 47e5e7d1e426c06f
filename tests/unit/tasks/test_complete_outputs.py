"""Missing output files are written from the JSON transcript of the same audio and options, and from no other one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.cli.run.complete_outputs import complete_outputs
from tasks.cli.sources.existing_outputs import finished_transcript
from tasks.job_spec import JobSpec, job_id
from tests.support.samples_of import a_segment, a_transcript
from worker.errors import OutputError
from worker.settings import Settings
from worker.storage.outputs.local_files import LocalOutputs, write
from worker.transcript.model import Gap, Transcript

CONTENT, SCOPE = "sha256 of the audio", "address of the service"
DEFAULT = ("json", "srt", "vtt", "txt", "html")


def spec_of(folder: Path, formats: tuple[str, ...], **options: Any) -> JobSpec:
    return JobSpec(source="/audio/a.wav", out_dir=str(folder), out_name="a", formats=formats, **options)


def written(folder: Path, formats: tuple[str, ...], **options: Any) -> Transcript:
    """Write the files of a finished job. Returns its transcript."""
    identity = job_id(spec_of(folder, formats, **options), CONTENT, scope=SCOPE)
    transcript = a_transcript(identity, (a_segment(),))
    write(transcript, LocalOutputs(folder, "a", formats))
    return transcript


async def completed(spec: JobSpec, content: str = CONTENT, scope: str = SCOPE, *, ours: bool | None = True) -> bool:
    """Whether a later run of the same command completes the files. Asserts that the job is finished then."""
    identity = job_id(spec, content, scope=scope)
    done = await complete_outputs(spec, identity, content, scope, Settings(), ours=ours)
    assert not done or finished_transcript(spec, identity) is not None
    return done


@pytest.mark.parametrize("is_emptied", [False, True], ids=["deleted", "emptied"])
async def test_a_missing_file_is_written_and_the_others_stay(tmp_path: Path, is_emptied: bool) -> None:
    transcript = written(tmp_path, ("json", "srt", "vtt"))
    text = (tmp_path / "a.srt").read_text("utf-8")
    (tmp_path / "a.vtt").write_text("edited by a person")
    (tmp_path / "a.srt").unlink()
    if is_emptied:
        (tmp_path / "a.srt").touch()
        later_s = (tmp_path / "a.json").stat().st_mtime + 1
        os.utime(tmp_path / "a.srt", (later_s, later_s))
    spec = spec_of(tmp_path, ("json", "srt", "vtt"))
    assert await completed(spec)
    assert (tmp_path / "a.srt").read_text("utf-8") == text
    assert (tmp_path / "a.vtt").read_text("utf-8") == "edited by a person"
    assert finished_transcript(spec, transcript.job_id) == transcript
    assert not await completed(spec)  # nothing is missing any more


@pytest.mark.parametrize("ours", [False, None])
async def test_a_file_that_another_job_replaced_is_not_kept(tmp_path: Path, ours: bool | None) -> None:
    """`run --format srt` with other audio of the same name. Without the ledger, no file is written at all."""
    written(tmp_path, ("json", "srt", "vtt"))
    text = (tmp_path / "a.srt").read_text("utf-8")
    (tmp_path / "a.srt").write_text("other audio")
    later_s = (tmp_path / "a.json").stat().st_mtime + 1
    os.utime(tmp_path / "a.srt", (later_s, later_s))
    (tmp_path / "a.vtt").unlink()
    assert await completed(spec_of(tmp_path, ("json", "srt", "vtt")), ours=ours) is (ours is False)
    assert (tmp_path / "a.srt").read_text("utf-8") == ("other audio" if ours is None else text)
    assert (tmp_path / "a.vtt").exists() is (ours is False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("json",), ("json", "srt")),
        (("json", "srt"), ("json", "srt", "vtt")),
        (("srt", "json"), ("vtt", "srt", "json")),
        (("json", "srt", "vtt"), ("json", "srt")),
        (("json", "srt"), ("json", "vtt")),
        (("html", "json"), DEFAULT),
        (DEFAULT, (*DEFAULT, "ass", "tsv")),
    ],
    ids=str,
)
async def test_other_formats_are_written_from_the_same_transcript(
    tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    written(tmp_path, before, language="yue")
    assert await completed(spec_of(tmp_path, after, language="yue"))
    assert all((tmp_path / f"a.{fmt}").read_text("utf-8") for fmt in after)
    assert await completed(spec_of(tmp_path, before, language="yue"))


async def test_a_recording_without_speech_has_empty_subtitles(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, ("json", "srt"))
    write(a_transcript(job_id(spec, CONTENT, scope=SCOPE), ()), LocalOutputs(tmp_path, "a", ("json", "srt")))
    assert (tmp_path / "a.srt").read_bytes() == b""
    assert not await completed(spec)


@pytest.mark.parametrize(
    "what", ["content", "service", "language", "no transcript", "incomplete", "cut off", "no json"]
)
async def test_another_transcript_completes_nothing(tmp_path: Path, what: str) -> None:
    transcript = written(tmp_path, ("json", "srt"))
    document, formats = tmp_path / "a.json", ("json", "srt", "vtt")
    if what == "no transcript":
        document.unlink()
    elif what == "cut off":
        document.write_bytes(document.read_bytes()[:-9])
    elif what == "incomplete":
        gap = Gap(start=0, end=1, reason="gone")
        coverage = transcript.coverage.model_copy(update={"missing": (gap,)})
        changed = transcript.model_copy(update={"coverage": coverage})
        write(changed, LocalOutputs(tmp_path, "a", ("json", "srt")))
    elif what == "no json":
        formats = ("srt", "vtt")
    spec = spec_of(tmp_path, formats, language="yue" if what == "language" else None)
    content, scope = "other" if what == "content" else CONTENT, "other" if what == "service" else SCOPE
    assert not await completed(spec, content, scope)
    assert not (tmp_path / "a.vtt").exists()


async def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    written(tmp_path, ("json", "srt"))
    (tmp_path / "a.srt").unlink()
    (tmp_path / "a.srt").mkdir()
    with pytest.raises(OutputError, match="a folder has this name"):
        await completed(spec_of(tmp_path, ("json", "srt")))
