"""Finds the recordings in a folder. Also finds the media files that are not transcribed, with the reason for each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tasks.cli.terminal_output import echo
from worker.audio.file_extensions import is_audio_name, is_other_media_name
from worker.audio.opened_file import SourceFile
from worker.errors import SttError

NEEDS_MEDIA: Final = "needs the extra `media`: pip install 'stt-batch[media]'"
_SHOWN: Final = 5
_STATE_FOLDERS: Final = (".stt-batch", ".git")
_OTHER: Final = (
    # Endings of files that are not recordings; their content is not read.
    "txt md json jsonl ndjson csv tsv xml html htm css js srt vtt ass ssa ctm textgrid lrc rtf pdf doc docx xls xlsx "
    "ppt pptx odt jpg jpeg png gif webp svg bmp tif tiff heic ico zip gz bz2 xz 7z rar tar py c h cpp java go rs rb sh "
    "yml yaml toml ini cfg conf log lock sql db sqlite lua tmp part crdownload m3u m3u8 pls cue nfo"
)
_OTHER_ENDINGS: Final = frozenset(_OTHER.split())
_UNFINISHED: Final = frozenset(("part", "crdownload"))
"""Endings of downloads that are not complete."""
_AUDIO_STARTS: Final = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"wvpk", b"MAC "),
    *(b"#!AMR", b"\x1aE\xdf\xa3", b"0&\xb2u", b"riff"),
)
_FRAME_STARTS: Final = frozenset(b"\xff" + bytes([byte]) for byte in b"\xe2\xe3\xf1\xf2\xf3\xf9\xfa\xfb\xfc\xfd")
"""First two bytes of MP3 and AAC without a container. A text in UTF-16 begins with FF FE."""
_SYNC: Final = 0x47
"""First byte of an MPEG transport stream. It distinguishes these from TypeScript files, which also end in `.ts`."""
_APPLE_DOUBLE: Final = b"\x00\x05\x16\x07"
"""Start of the AppleDouble files that macOS writes on foreign disks, such as `._call.wav`."""


@dataclass(frozen=True, slots=True)
class LeftOutFile:
    """A file or folder that is not transcribed."""

    source: str
    reason: str


def scan_folder(folder: Path, *, media: bool, by_content: bool = True) -> Iterator[Path | LeftOutFile]:
    """Yield the recordings below a folder in order, and the media files that are not transcribed. `media`: include
    formats that only FFmpeg opens. `by_content`: also inspect the content of files without the ending of an audio
    format."""
    root = os.path.realpath(folder)
    failures: list[OSError] = []
    for here, folders, files in os.walk(folder, onerror=failures.append):
        yield from _unreadable(failures)
        for name in sorted(folders):
            path = Path(here) / name
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                target = os.path.realpath(path)
                yield LeftOutFile(
                    str(path), f"is a link to a folder outside, which is not followed; add {target} to the command"
                )
            elif name.startswith(".") and name not in _STATE_FOLDERS and not path.is_symlink():
                yield from _in_hidden_folder(path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here) / name
            reason = left_out_reason(path, media=media, by_content=by_content)
            if reason:
                yield LeftOutFile(str(path), reason)
            elif reason is None and not _is_source_code(path):
                yield path
    yield from _unreadable(failures)


def left_out_reason(path: Path, *, media: bool = True, by_content: bool = True) -> str | None:
    """Return the reason not to transcribe a media file. Returns None for a recording, and "" for a file that is not
    media."""
    if path.name.startswith("."):
        bare = path.with_name(path.name.lstrip(".") or "x")
        return "is hidden: its name begins with a dot" if _is_named(bare) and not _is_apple_double(path) else ""
    if not _is_named(path):
        return _by_content(path) if by_content else ""
    return _why_unfit(path) or (None if media or is_audio_name(path) else NEEDS_MEDIA)


def recording_of_link(link: Path, folder: Path, *, media: bool) -> Path | None:
    """Return the recording below `folder` to which a link refers. Returns None for a path that is no link, and for a
    link to a file that `scan_folder` does not yield."""
    if not link.is_symlink():
        return None
    target, root = Path(os.path.realpath(link)), Path(os.path.realpath(folder))
    if not target.is_relative_to(root):
        return None
    place = target.relative_to(root)
    is_hidden = any(part.startswith(".") for part in place.parts)  # for example the files of git-annex
    return None if is_hidden or left_out_reason(target, media=media) is not None else folder / place


def _why_unfit(path: Path) -> str | None:
    """Return the reason not to transcribe a file whose name has the ending of an audio format, or None if it should be
    transcribed."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return "is a broken link" if path.is_symlink() else None
    except OSError:  # transcribe it: its job will report why it cannot be read
        return None
    return None if stat.S_ISREG(facts.st_mode) else "is not a regular file"


def print_left_out(left_out: Sequence[LeftOutFile], *, everything: bool) -> None:
    """Print the files that are not transcribed, on standard error. If `everything`, all files are printed, otherwise
    the first few and the number of the other files."""
    shown = left_out if everything else left_out[:_SHOWN]
    for one in shown:
        echo(f"left out: {one.source}: {one.reason}", err=True)
    if len(left_out) > len(shown):
        echo(f"left out: {len(left_out) - len(shown)} more media files; --left-out lists them", err=True)


def print_left_out_count(left_out: Sequence[LeftOutFile], *, everything: bool) -> None:
    """Print how many files are not transcribed, as the last line of a command."""
    if left_out:
        files = "1 media file was" if len(left_out) == 1 else f"{len(left_out)} media files were"
        hint = "" if everything or len(left_out) <= _SHOWN else "; --left-out lists all with the reasons"
        echo(f"{files} left out{hint}", err=True)


def as_documents(left_out: Sequence[LeftOutFile]) -> list[dict[str, str]]:
    return [asdict(one) for one in left_out]


def _ending(path: Path) -> str:
    return path.suffix[1:].lower()


def _is_named(path: Path) -> bool:
    return is_audio_name(path) or is_other_media_name(path)


def _by_content(path: Path) -> str:
    """Return the reason not to transcribe a file whose name has no ending of an audio format, or "" if the file
    contains no audio."""
    # Thousands of documents may be next to the recordings, so only the first bytes of a document are read.
    other = _ending(path) in _OTHER_ENDINGS
    if _ending(path) in _UNFINISHED or (other and not _starts_as_audio(path)) or (kind := _kind_of(path)) is None:
        return ""
    ending = f"its ending {path.suffix} is not that of an audio file" if path.suffix else "its name has no ending"
    return f"contains {kind}, but {ending}; name the file itself, or rename it"


def _starts_as_audio(path: Path) -> bool:
    start = _start(path, 12)
    if start.startswith(b"ID3"):
        return start[3:4] < b"\x10"  # the version; a letter follows in a text about such tags
    return start.startswith(_AUDIO_STARTS) or start[4:8] == b"ftyp" or start[:2] in _FRAME_STARTS


def _kind_of(path: Path) -> str | None:
    """Return the audio format of a file, or None if it is not a regular file or contains no audio."""
    # Most folders have no file whose name does not show its format, and the import loads numpy, which takes 0.1 s.
    from worker.audio.file_formats.detect_format import detect_format  # noqa: PLC0415

    try:
        if not path.is_file() or not path.stat().st_size:
            return None
        with SourceFile.at(path) as file:
            kind = detect_format(file)
    except (OSError, SttError):  # unreadable, so its kind is unknown
        return None
    return str(kind) if kind is not None and kind.is_audio else None


def _is_apple_double(path: Path) -> bool:
    return _start(path) == _APPLE_DOUBLE


def _is_source_code(path: Path) -> bool:
    """Whether a .ts file is text, such as TypeScript, and not an MPEG transport stream. The first byte is not
    sufficient, because a stream that was cut may begin with any byte. So the text is examined as well."""
    start = _start(path, 512) if _ending(path) == "ts" else b""
    return bool(start) and start[0] != _SYNC and b"\0" not in start and start.isascii()


def _start(path: Path, count: int = len(_APPLE_DOUBLE)) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def _in_hidden_folder(folder: Path) -> Iterator[LeftOutFile]:
    for here, folders, files in os.walk(folder):
        folders.sort()
        for path in (Path(here) / name for name in sorted(files)):
            if _is_named(path):
                yield LeftOutFile(str(path), f"is in the hidden folder {folder.name}")


def _unreadable(failures: list[OSError]) -> Iterator[LeftOutFile]:
    for exc in failures:
        yield LeftOutFile(str(exc.filename), f"is a folder that cannot be read: {exc.strerror}")
    failures.clear()
