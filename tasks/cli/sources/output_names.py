"""Chooses the names of transcript files, so that no two sources write to the same file."""

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
    """A source. `place`: its path relative to the argument of the command that contains the source."""

    source: Address
    """If this is a path, it is absolute."""
    place: PurePosixPath
    size_bytes: int | None = None
    """None if the size is not known without opening the source."""
    id: str | None = None
    """The job's id from a manifest."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of JobSpec from a manifest."""

    @property
    def key(self) -> tuple[str, str | None, str]:
        """Return a key of the source and its options. Two arguments that contain the same source with the same options
        give equal keys."""
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
    """Yield all files below a folder in order, except those in hidden folders."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield Path(here) / name


def name_outputs(found: Sequence[FoundSource], out: Path, formats: Sequence[str]) -> list[NamedSource]:
    """Give each source a unique name below `out`. The name is the source's folder and its file name without the ending.
    If two sources would get the same name, the ending is added; if the names are still equal, more of the folders above
    the source are added. A name is also not used if an output file would replace a source. Names from a manifest do not
    change. Raises BadJob if two names from manifests are equal.

    Names that differ only in the case of letters are treated as equal, because the disks of macOS and Windows ignore
    case. There is one exception: if the paths of the sources also differ only in case, their disk distinguishes case,
    and the names may differ only in case.
    """
    levels = [0] * len(found)
    given = [item.options.get("out_name") for item in found]
    for named, count in Counter(_folded(name) for name in given if name is not None).items():
        if count > 1:
            raise BadJob(f"{count} sources have the same out_name, {named}: give each source another out_name")
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
        # Rename the sources whose name changes with one more folder. The others already have their whole path as their
        # name, which is unique.
        moved = [i for i in clashes if given[i] is None and names[i] != _name(found[i], levels[i] + 1)]
        if not moved:
            _check(names, found)
            return [NamedSource(item, name) for item, name in zip(found, names, strict=True)]
        for index in moved:
            levels[index] += 1


def _check(names: Sequence[str], found: Sequence[FoundSource]) -> None:
    """Check that names are unique. Raises BadJob if a manifest lists a source twice with different options and no
    names."""
    for name, count in Counter(names).items():
        if count > 1:
            source = found[names.index(name)].source
            raise BadJob(f"{source}: is listed {count} times with different options; give each entry an out_name")


def _name(item: FoundSource, level: int) -> str:
    if level == 0:
        return str(item.place.with_name(item.place.stem))
    if level == _FULL_NAME:
        return str(item.place)
    # Each further level adds one more of the folders above `item.place` to the name.
    source = item.source
    parts = source.path.parts[1:] if source.is_file else PurePosixPath(source.bucket, source.key).parts
    count = min(len(item.place.parts) + level - _FULL_NAME, len(parts))
    return "/".join(parts[-count:])


def _clash(group: Sequence[tuple[str, str]]) -> bool:
    """Whether sources need other names. `group`: (name, source) for each source; the names are equal except for the
    case of letters. The names may stay if the sources also differ only in case."""
    exact = {name for name, _ in group}
    return len(exact) < len(group) or len({_folded(source) for _, source in group}) > 1 < len(group)


def _folded(name: str) -> str:
    return name.casefold()
