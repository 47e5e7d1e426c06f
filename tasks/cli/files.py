"""Which files to transcribe, and what their transcripts are called."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from worker.audio.source import is_audio_name, is_other_media_name
from worker.errors import BadJob

_FULL_NAME: Final = 1


@dataclass(frozen=True, slots=True)
class Found:
    """An audio file, and its place below the argument it was found under."""

    source: Path
    """Absolute."""
    place: PurePosixPath


@dataclass(frozen=True, slots=True)
class Planned:
    source: Path
    out_name: str
    """Name of the transcript files below the output folder, without the ending."""


def find(paths: Sequence[Path]) -> tuple[list[Found], list[Path]]:
    """The audio files of the arguments, each once, and the media files that need a converter first.

    Folders are walked, hidden ones left out; a file named as an argument is taken whatever its name is.
    Raises BadJob for a path that does not exist, and when there is no audio file at all.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise BadJob(f"no such file or folder: {', '.join(missing)}")
    found: dict[Path, Found] = {}
    other: list[Path] = []
    for path in paths:
        if path.is_file():
            found.setdefault(path.resolve(), Found(path.absolute(), PurePosixPath(path.name)))
            continue
        for file in _walk(path):
            if is_audio_name(file):
                place = PurePosixPath(file.relative_to(path).as_posix())
                found.setdefault(file.resolve(), Found(file.absolute(), place))
            elif is_other_media_name(file):
                other.append(file)
    if not found:
        hint = f"; {len(other)} media files need a conversion first, for example {other[0]}" if other else ""
        raise BadJob(f"no audio files in {', '.join(map(str, paths))}{hint}")
    return list(found.values()), other


def _walk(folder: Path) -> Iterable[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield Path(here) / name


def name_outputs(found: Sequence[Found], out: Path, formats: Sequence[str]) -> list[Planned]:
    """Give each file its own name below `out`: its stem in its folder; where that is taken, its full name; where that
    is taken too, with the folders above it. Never a name whose file would be one of the sources.

    Names that differ in case only count as the same, as on the disks of macOS and Windows; but where the sources differ
    in nothing else, their disk tells them apart.
    """
    levels = [0] * len(found)
    sources = {_folded(os.path.realpath(item.source)) for item in found}
    root = os.path.realpath(out)
    while True:
        names = [_name(item, level) for item, level in zip(found, levels, strict=True)]
        same: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            same[_folded(name)].append(index)
        clashes = {
            index for group in same.values() if _clash([(names[i], found[i].source) for i in group]) for index in group
        }
        clashes |= {
            index
            for index, name in enumerate(names)
            if any(_folded(os.path.join(root, f"{name}.{fmt}")) in sources for fmt in formats)  # noqa: PTH118
        }
        # A file at its last level keeps its name: the whole path is its own, so the others move away from it.
        moved = [index for index in clashes if names[index] != _name(found[index], levels[index] + 1)]
        if not moved:
            return [Planned(item.source, name) for item, name in zip(found, names, strict=True)]
        for index in moved:
            levels[index] += 1


def _name(item: Found, level: int) -> str:
    if level == 0:
        return str(item.place.with_name(item.place.stem))
    if level == _FULL_NAME:
        return str(item.place)
    # One more folder above the place with each level.
    parts = item.source.parts[1:]
    count = min(len(item.place.parts) + level - _FULL_NAME, len(parts))
    return "/".join(parts[-count:])


def _clash(group: Sequence[tuple[str, Path]]) -> bool:
    """Whether files of the same name, case aside, cannot all have it."""
    exact = {name for name, _ in group}
    return len(exact) < len(group) or len({_folded(str(source)) for _, source in group}) > 1 < len(group)


def _folded(name: str) -> str:
    return name.casefold()
