"""The producer API is typed: a type checker refuses wrong options, and the types agree with JobSpec."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from mypy import api

from tasks.client.job_options import BatchOptions, Format, JobOptions, StyleOptions
from tasks.job_spec import FORMATS, JobSpec
from worker.storage.address import Address
from worker.transcript.subtitles.style import Style

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """\
from pathlib import Path
from tasks.client.handles import submit, submit_async, submit_many, submit_many_async
from tasks.client.producer import make_spec
handle = submit("a.wav", out_dir=Path("out"), formats=("json", "srt"), speed="max", batch="monday", track="all")
submit("a.wav", out_dir=["out", Path("out")], style={"preset": "netflix-en"}, glossary=[("heard", "wanted")], speed=2)
batch = submit_many(["a.wav"], batch="monday", batch_webhook="https://example.com", channels="split", sessions=2)
"""
WRONG = (
    'submit("a.wav", langauge="en")',
    'submit("a.wav", formats=("doc",))',
    'submit("a.wav", formats="json")',
    'submit("a.wav", priority="urgent")',
    'submit("a.wav", speed="fast")',
    'submit("a.wav", sessions="two")',
    'submit("a.wav", style={"presets": "plain"})',
    'submit("a.wav", source="b.wav")',
    'submit_async("a.wav", skip_silence="yes")',
    'submit_many(["a.wav"], again=True)',
    'submit_many("a.wav", channels="both")',
    'submit_many_async(["a.wav"], track="first")',
    'make_spec("a.wav", webhok="https://example.com")',
    "handle.state",
    "batch.jobs[0].wait(timeout=1)",
)


def test_a_type_checker_finds_every_wrong_option_and_no_right_one(tmp_path: Path) -> None:
    # Only the modules of the API, so that mypy reads five files and not the whole project.
    program = tmp_path / "program.py"
    lines = [*PROGRAM.splitlines(), *WRONG]
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    modules = ("tasks/client/handles", "tasks/client/producer", "tasks/client/new_spec", "tasks/client/job_options")
    sources = [str(ROOT / f"{module}.py") for module in (*modules, "worker/transcript/subtitles/style")]
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nfollow_imports = skip\nexplicit_package_bases = True\n", encoding="utf-8")
    out, err, _ = api.run(["--config-file", str(config), "--cache-dir", str(tmp_path), str(program), *sources])
    found = {int(number) for number in re.findall(r"program\.py:(\d+): error: (?!Value of type .* must be used)", out)}
    first = len(PROGRAM.splitlines()) + 1
    expected = set(range(first, first + len(WRONG)))
    missed = [lines[number - 1] for number in sorted(expected - found)]
    assert found == expected, f"not refused: {missed}\n{out}{err}"


def test_the_typed_options_are_the_fields_of_a_job() -> None:
    assert set(JobOptions.__annotations__) == set(JobSpec.model_fields) - {"source"}
    assert set(JobOptions.__annotations__) - set(BatchOptions.__annotations__) == {"batch"}
    assert set(StyleOptions.__annotations__) == set(Style.model_fields)
    assert get_args(Format) == FORMATS


@pytest.mark.parametrize("name", ["priority", "preset", "script"])
def test_the_typed_choices_are_those_of_a_job(name: str) -> None:
    only_for_type_checkers = {"Path": Path, "Address": Address, "Style": Style}
    typed = get_type_hints(StyleOptions if name in Style.model_fields else JobOptions, None, only_for_type_checkers)
    field = (Style if name in Style.model_fields else JobSpec).model_fields[name]
    assert typed[name] == field.annotation
