"""The remedies that lists of failed files add to reasons."""

from __future__ import annotations

import pytest

from tasks.batches.remedies import with_remedy

REMEDY = "fetch or export the file again"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the file is cut off", f"the file is cut off; {REMEDY}"),
        ("the file is cut off; copy it again", "the file is cut off; copy it again"),
        (
            "no audio (MP4; libsndfile: unknown; FFmpeg: bad)",
            f"no audio (MP4; libsndfile: unknown; FFmpeg: bad); {REMEDY}",
        ),
        ("no audio (a (b; c); d)", f"no audio (a (b; c); d); {REMEDY}"),
        ("no audio (a; b); convert it", "no audio (a; b); convert it"),
    ],
)
def test_a_reason_gets_the_remedy_of_its_code_unless_it_ends_with_one(text: str, expected: str) -> None:
    assert with_remedy("source_damaged", text) == expected


@pytest.mark.parametrize(
    ("text", "repeatable"),
    [
        (
            "1.0–2.0 s missing: could not be decoded: bad data; 5.0–6.0 s of left missing: could not be decoded: bad",
            False,
        ),
        ("1.0–2.0 s missing: could not be decoded: bad data; 5.0–6.0 s missing: no text for speech", True),
        ("5.0–6.0 s missing: no text for speech", True),
        ("the record is damaged", True),
    ],
)
def test_an_incomplete_file_is_run_again_unless_all_missing_parts_are_damaged(text: str, repeatable: bool) -> None:
    again = "run the same command again to transcribe the missing parts"
    assert with_remedy("incomplete", text) == f"{text}; {again if repeatable else REMEDY}"
