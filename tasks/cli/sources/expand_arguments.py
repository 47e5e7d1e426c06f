"""Expands the arguments of a command to sources: files, folders, patterns, manifests and addresses.

| argument                          | sources                                                             |
|-----------------------------------|---------------------------------------------------------------------|
| `call.wav`                        | this file, regardless of its name                                   |
| `calls/`                          | the audio files below it, without hidden ones                       |
| `'calls/**/*.wav'`                | the files that match, if the shell has not expanded the pattern     |
| `list.csv`, `list.jsonl`          | the entries of a manifest (`tasks.batches.manifest`)                |
| `s3://bucket/calls/**`, `gs://` … | see `worker.storage.sources.wildcards.list_sources`                   |
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final

from tasks.batches.manifest import ManifestEntry, is_manifest, read_entries
from tasks.batches.number_format import format_count
from tasks.cli.sources.find_recordings import NEEDS_MEDIA, LeftOutFile, recording_of_link, scan_folder
from tasks.cli.sources.source_table import FoundSource, SourceTable
from worker.audio.file_extensions import is_other_media_name
from worker.errors import BadJob, SourceError, SourceNotFound
from worker.settings import Settings
from worker.storage.address import Address, from_path, is_url, parse, show
from worker.storage.sources.wildcards import list_sources

_REASONS: Final = 3
"""Maximum number of reasons that the error for a command without sources lists."""


@dataclass(slots=True)
class Listing:
    """The sources of all arguments in order, without repetitions."""

    found: SourceTable = field(default_factory=SourceTable)
    left_out: list[LeftOutFile] = field(default_factory=list)
    """Media files that are not transcribed, with the reasons."""

    @property
    def other(self) -> list[str]:
        """Return the media files that need the package extra `media`, which is not installed."""
        return [one.source for one in self.left_out if one.reason == NEEDS_MEDIA]


def opens_media() -> bool:
    """Whether FFmpeg is installed. FFmpeg opens the formats that libsndfile cannot open."""
    return find_spec("av") is not None


async def sources(arguments: Sequence[str], settings: Settings, *, media: bool) -> Listing:
    """Expand all arguments. `media`: include formats that only FFmpeg opens.

    Raises BadJob if an argument does not exist, cannot be listed or is an invalid manifest, or if there are no sources.
    """
    if missing := [text for text in arguments if not is_url(text) and not _exists(text) and not _matches(text)]:
        raise BadJob(f"no such file or folder: {', '.join(missing)}{_hint(missing)}")
    listing = Listing()
    for text in arguments:
        if is_url(text):
            await _address(parse(text), settings, media, listing)
        else:
            _local(text, media, listing)
    if not listing.found:
        other = listing.other
        needs = f"{format_count(len(other), 'file')} {'needs' if len(other) == 1 else 'need'} the extra `media`"
        hint = f"; {needs} (pip install 'stt-batch[media]'): {other[0]}" if other else ""
        why = {one.reason: one for one in listing.left_out if one.reason != NEEDS_MEDIA}
        hint += "".join(f"; {one.source} {one.reason}" for one in list(why.values())[:_REASONS])
        raise BadJob(f"no audio files in {', '.join(map(show, arguments))}{hint}")
    return listing


def _exists(text: str) -> bool:
    """Whether a file or folder exists. Raises BadJob if the system returns an error, for example without
    permission for its folder."""
    try:
        return Path(text).exists()
    except OSError as exc:
        raise BadJob(f"{text}: {exc.strerror}; check the path") from None


def _hint(missing: Sequence[str]) -> str:
    if not any(text.startswith("-") for text in missing):
        return ""
    return "; everything after `--` is a path, so write options before it"


def _local(text: str, media: bool, listing: Listing) -> None:
    path = Path(text)
    if not _exists(text):
        root = _root(text)
        for match in _matches(text):
            listing.found.add(_file(match, PurePosixPath(match.relative_to(root).as_posix())))
    elif path.is_dir():
        _walk(path, PurePosixPath(), media, listing)
    elif is_manifest(path):
        for entry in read_entries(path):
            listing.found.add(_of_entry(entry, path.parent.absolute()))
    else:
        listing.found.add(_file(path, PurePosixPath(path.name)))


def _walk(folder: Path, below: PurePosixPath, media: bool, listing: Listing) -> None:
    for item in scan_folder(folder, media=media):
        if isinstance(item, LeftOutFile):
            listing.left_out.append(item)
        elif twin := recording_of_link(item, folder, media=media):
            listing.left_out.append(LeftOutFile(str(item), f"is a link to {twin}, which is transcribed itself"))
        else:
            listing.found.add(_file(item, below / item.relative_to(folder).as_posix()))


def _file(path: Path, place: PurePosixPath) -> FoundSource:
    return FoundSource(from_path(path.absolute()), place, _size(path))


def _of_entry(entry: ManifestEntry, folder: Path) -> FoundSource:
    if not entry.source.is_file:
        place = _place(PurePosixPath(entry.source.name))
        return FoundSource(entry.source, place, id=entry.id, options=entry.options)
    path = Path(os.path.normpath(entry.source.text))
    inside = path.is_relative_to(folder)
    place = PurePosixPath(path.relative_to(folder).as_posix() if inside else path.name)
    return FoundSource(from_path(path), place, _size(entry.source.path), entry.id, entry.options)


async def _address(address: Address, settings: Settings, media: bool, listing: Listing) -> None:
    count = len(listing.found)
    try:
        async for one in list_sources(address, settings):
            if one.problem:
                listing.left_out.append(LeftOutFile(one.address.shown, one.problem))
            elif media or not is_other_media_name(Path(one.place.name)):
                listing.found.add(FoundSource(one.address, _place(one.place), one.size_bytes))
            else:
                listing.left_out.append(LeftOutFile(one.address.shown, NEEDS_MEDIA))
    except SourceNotFound as exc:
        raise BadJob(str(exc)) from None
    except SourceError as exc:
        raise type(exc)(f"{exc} (while listing {address})") from None
    if len(listing.found) == count and not listing.other:
        raise BadJob(f"{address}: contains no audio files")


def _place(place: PurePosixPath) -> PurePosixPath:
    """Return `place`. If its last part cannot be a file name, return a file `source` below `place`. For example, a web
    address may end in a slash or in a dot."""
    return place if place.name.strip(".") else place / "source"


def _matches(text: str) -> list[Path]:
    """Return the files that match a pattern, sorted by name, without hidden ones."""
    if not glob.has_magic(text):
        return []
    # Brackets are sets of characters, and also stand for themselves: names of folders often contain them.
    names = {name for one in (text, text.replace("[", "[[]")) for name in glob.glob(one, recursive=True)}  # noqa: PTH207
    return [Path(name) for name in sorted(names) if Path(name).is_file()]


def _root(text: str) -> Path:
    """Return the folder above the first part of the pattern `text` that contains a wildcard."""
    return Path(*_until_magic(Path(text).parts))


def _until_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # not reported here, because reading the file will report it
        return None
