"""Audio from standard input (`run -`) and a transcript on standard output (`run -o -`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from tasks.cli.run.file_states import File
from tasks.cli.terminal_output import echo_bytes
from worker.errors import BadJob, OutputError, SourceError
from worker.settings import Settings

STANDARD_INPUT: Final = "-"
"""Argument that means standard input, and option value that means standard output."""
NAME: Final = "stdin"
"""Name of the temporary file with the audio, and so of its transcripts."""
_BLOCK: Final = 1 << 20
_GB: Final = 1_000_000_000


def store_input(folder: Path, settings: Settings, stream: BinaryIO | None = None) -> Path:
    """Copy standard input to a file in `folder`, because the decoders need files in which they can seek. Returns its
    path. Raises BadJob if standard input is a terminal or empty, and SourceError if it is larger than STT_SOURCE_MAX_GB
    or does not fit on the disk."""
    source = stream or sys.stdin.buffer
    if source.isatty():
        raise BadJob("standard input is a terminal: pipe audio into the command, such as `stt-batch run - < call.wav`")
    path, size, limit = folder / NAME, 0, settings.source_max_gb * _GB
    try:
        with path.open("wb") as file:
            while block := source.read(_BLOCK):
                size += len(block)
                if limit and size > limit:
                    raise SourceError(
                        f"standard input is larger than {settings.source_max_gb:g} GB (STT_SOURCE_MAX_GB)"
                    )
                file.write(block)
    except OSError as exc:
        raise SourceError(f"standard input cannot be copied to {folder}: {exc.strerror}") from exc
    if not size:
        raise BadJob("standard input is empty: pipe audio into the command")
    return path


def check_one(files: Sequence[File], formats: Sequence[str]) -> None:
    """Check that one transcript in one format can be written to standard output. Raises BadJob."""
    if len(formats) != 1:
        raise BadJob(f"-o - writes one format, not {', '.join(formats)}: choose one with --format")
    if len(files) != 1:
        raise BadJob(
            f"-o - writes one transcript, but there are {len(files)} files: name one file, or a folder with -o"
        )


def print_transcript(file: File, out: Path, format_: str) -> None:
    """Write the transcript of a file that has ended to standard output. Nothing is written for a failed file."""
    path = out / f"{file.out_name}.{format_}"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as exc:
        raise OutputError(f"{path}: cannot be read ({exc.strerror})") from exc
    echo_bytes(content)
