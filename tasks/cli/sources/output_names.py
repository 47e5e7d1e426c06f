"""Audio files below a folder, and what the transcripts of sources are called."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from worker.errors import BadJob
from worker.storage.address import Address

_FULL_NAME: Final = 1


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source, and its place below the argument it was found under."""

    source: Address
    """A path is absolute."""
    place: PurePosixPath
    size_bytes: int | None = None
    """As far as it is known without opening it."""
    id: str | None = None
    """The job's id, where a manifest gives one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of JobSpec a manifest gives for this one."""

    @property
    def key(self) -> tuple[str, str | None, str]:
        """Equal for the same source, found twice."""
        place = os.path.realpath(self.source.text) if self.source.is_file else self.source.text
        return place, self.id, repr(sorted(self.options.items()))


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source and the name of its transcript files below the output folder, without the ending."""

    found: FoundSource
    out_name: str

    @property
    def source(self) -> Address:
        return self.found.source


def walk(folder: Path) -> Iterable[Path]:
    """All files below a folder in order, without hidden folders."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield Path(here) / name


def name_outputs(found: Sequence[FoundSource], out: Path, formats: Sequence[str]) -> list[NamedSource]:
    """Give each file its own name below `out`: its stem in its folder; where that is taken, its full name; where that
    is taken too, with the folders above it. Never a name whose file would be one of the sources. A name that a manifest
    gives stays as it is; raises BadJob where two have the same.

    Names that differ in case only count as the same, as on the disks of macOS and Windows; but where the sources differ
    in nothing else, their disk tells them apart.
    """
    levels = [0] * len(found)
    given = [item.options.get("out_name") for item in found]
    for named, count in Counter(_folded(name) for name in given if name is not None).items():
        if count > 1:
            raise BadJob(f"{count} sources are to be written to the same out_name, {named}: give each one of its own")
    sources = {_folded(item.key[0]) for item in found}
    root = os.path.realpath(out)
    while True:
        names = [name or _name(item, level) for item, level, name in zip(found, levels, given, strict=True)]
        same: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            same[_folded(name)].append(index)
        clashes = {
            index
            for group in same.values()
            if _clash([(names[i], found[i].source.text) for i in group])
            for index in group
        }
        clashes |= {
            index
            for index, name in enumerate(names)
            if any(_folded(os.path.join(root, f"{name}.{fmt}")) in sources for fmt in formats)  # noqa: PTH118
        }
        # A file at its last level keeps its name: the whole path is its own, so the others move away from it.
        moved = [i for i in clashes if given[i] is None and names[i] != _name(found[i], levels[i] + 1)]
        if not moved:
            _check(names, found)
            return [NamedSource(item, name) for item, name in zip(found, names, strict=True)]
        for index in moved:
            levels[index] += 1


def _check(names: Sequence[str], found: Sequence[FoundSource]) -> None:
    """Raises BadJob where a manifest wants one source transcribed in several ways under one name."""
    for name, count in Counter(names).items():
        if count > 1:
            source = found[names.index(name)].source
            raise BadJob(f"{source}: is listed {count} times with other options; give each an out_name")


def _name(item: FoundSource, level: int) -> str:
    if level == 0:
        return str(item.place.with_name(item.place.stem))
    if level == _FULL_NAME:
        return str(item.place)
    # One more folder above the place with each level.
    source = item.source
    parts = source.path.parts[1:] if source.is_file else PurePosixPath(source.bucket, source.key).parts
    count = min(len(item.place.parts) + level - _FULL_NAME, len(parts))
    return "/".join(parts[-count:])


def _clash(group: Sequence[tuple[str, str]]) -> bool:
    """Whether files of the same name, case aside, cannot all have it."""
    exact = {name for name, _ in group}
    return len(exact) < len(group) or len({_folded(source) for _, source in group}) > 1 < len(group)


def _folded(name: str) -> str:
    return name.casefold()
