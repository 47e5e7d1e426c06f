"""Builds the errors for files that no reader can open. The errors name the container, the codec, the reason and the
remedy."""

from __future__ import annotations

import shlex
from typing import Final

from worker.audio.file_formats.detect_format import FileFormat
from worker.audio.opened_file import SourceFile
from worker.errors import DamagedSource, SourceError, UnsupportedSource

INSTALL: Final = "pip install 'stt-batch[media]'"


class SndfileRefused(SourceError):
    """libsndfile cannot read a file. `damaged`: the format is known, but the content is broken. `input_options`:
    options that the program ffmpeg needs to convert the file."""

    def __init__(self, path: SourceFile, reason: str, *, damaged: bool = False, input_options: str = "") -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason
        self.damaged = damaged
        self.input_options = input_options


def without_media(path: SourceFile, kind: FileFormat | None, refused: SndfileRefused) -> SourceError:
    """Return the error for a file that libsndfile refuses while the extra `media` (FFmpeg) is not installed."""
    if kind is not None and not kind.is_audio:
        return _no_audio(path, kind)
    if refused.damaged and kind is not None and kind.native and not kind.misread:
        return DamagedSource(f"{path}: cannot be opened as audio: {refused.reason} ({kind})")
    return UnsupportedSource(f"{_unsupported(path, kind, refused)}; or install the extra that reads it: {INSTALL}")


def refused_by_both(
    path: SourceFile, kind: FileFormat | None, refused: SndfileRefused, other: SourceError, reason: str
) -> SourceError:
    """Return the error for a file that neither libsndfile nor FFmpeg can read. `refused`: the error of libsndfile.
    `other`: the error of FFmpeg. `reason`: the reason of `other`, or empty if the text of `other` already explains the
    problem."""
    if kind is None:
        return UnsupportedSource(
            f"{path}: neither libsndfile nor FFmpeg recognizes its content as audio ({refused.reason}); check the "
            f"file, or convert it first, for example: {_conversion(path, refused)}"
        )
    if not kind.is_audio:
        return _no_audio(path, kind)
    if isinstance(other, UnsupportedSource) and not reason:
        return other
    reasons = f"libsndfile: {refused.reason}; FFmpeg: {reason}"
    return DamagedSource(f"{path}: is cut off or damaged: it cannot be opened as audio ({kind}; {reasons})")


def no_decoder(path: SourceFile, kind: FileFormat | None) -> SourceError:
    """Return the error for a codec that neither library supports."""
    return UnsupportedSource(f"{path}: neither libsndfile nor FFmpeg decodes {kind or 'its codec'}; convert it first")


def _unsupported(path: SourceFile, kind: FileFormat | None, refused: SndfileRefused) -> str:
    named = f": {kind}" if kind is not None else ""
    return (
        f"{path}: libsndfile cannot read this format{named} ({refused.reason}); convert it first, "
        f"for example: {_conversion(path, refused)}"
    )


def _conversion(path: SourceFile, refused: SndfileRefused) -> str:
    """The shell command that converts the file to FLAC."""
    names = (f"./{name}" if name.startswith("-") else name for name in (path.name, f"{path.stem}.flac"))
    return f"ffmpeg {refused.input_options}-i {shlex.join(names)}"


def _no_audio(path: SourceFile, kind: FileFormat) -> SourceError:
    return UnsupportedSource(f"{path}: is {kind}, not audio; give an audio file")
