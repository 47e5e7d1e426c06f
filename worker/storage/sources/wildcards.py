"""Lists the sources at an address, which may contain wildcards, and identifies the content of sources."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from worker.audio.file_extensions import is_audio_name, is_other_media_name
from worker.audio.opened_file import SourceFile
from worker.audio.source import sha256_of
from worker.errors import BadJob, SourceError, SourceNotFound, SourceRefused, SttError
from worker.settings import Settings
from worker.storage.access_policy import check_source
from worker.storage.address import Address
from worker.storage.remote_file import remote_content_id
from worker.storage.sources.local_file import open_local

IDENTIFY_TIMEOUT_S: Final = 20.0
"""Time limit for a server to report the version of a content, in seconds."""
MAX_CONCURRENT: Final = 16
"""Maximum number of concurrent requests in `contents_of`."""
_WILD: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class ListedSource:
    """One source that `list_sources` found."""

    address: Address
    place: PurePosixPath
    """Path relative to the last folder of the address before the first wildcard: `b/1.wav` for `s3://bucket/a/*/*.wav`."""
    size_bytes: int | None
    problem: str = ""
    """Why it cannot be a source; empty for a readable one."""
    content: str = ""
    """Its content as `content_of` returns it; empty if the listing does not contain it."""


async def list_sources(address: Address, settings: Settings) -> AsyncIterator[ListedSource]:
    """Yield the sources at an address, in the order of the store. A web address is one source.

    | address                   | sources                                                                   |
    |---------------------------|---------------------------------------------------------------------------|
    | `s3://bucket/calls/a.wav` | this object                                                               |
    | `s3://bucket/calls/`      | all objects below `calls/` with the file name of audio or other media     |
    | `s3://bucket/calls/**`    | the same objects as for `s3://bucket/calls/`                              |
    | `s3://bucket/c/*/*.wav`   | all objects whose keys match; `*` and `?` do not match a slash            |
    | `s3://bucket/**/*.wav`    | all objects whose keys end in `.wav`; `**/` matches any folders, or none  |

    If the last part of the address is empty, `*` or `**`, only audio and other media are listed, and hidden files and
    folders (`.name`) are omitted. Raises BadJob for a path, SourceNotFound for a missing object, SourceRefused,
    SourceUnavailable.
    """
    from worker.storage import object_store  # noqa: PLC0415  see `download.open_remote`
    from worker.storage.sources.download import open_remote  # noqa: PLC0415  0.05 s, not needed for files

    if address.is_file:
        raise BadJob(f"{address}: is a path, not an address")
    if address.is_web:
        yield ListedSource(address, PurePosixPath(address.name or "source"), None)
        return
    wild = _WILD.search(address.key)
    if address.key and not address.key.endswith("/"):
        try:
            async with open_remote(address, settings) as body:
                found_name = ListedSource(address, PurePosixPath(address.name), body.version.size_bytes)
        except SourceError:
            # Without wildcards the address is a name. With wildcards it may be one: `take [x].wav`.
            if wild is None:
                raise
        else:
            yield found_name
            return
    start = address.key[: wild.start()] if wild else address.key
    folder = start[: start.rfind("/") + 1]
    pattern = _patterns(address.key) if wild else None
    any_name = pattern is None or address.key.rpartition("/")[2] in ("", "*", "**")
    async for found in object_store.listing(address.at(folder), settings.s3_endpoint):
        key = found.address.key
        place = PurePosixPath(key.removeprefix(folder))
        hidden = any(part.startswith(".") and part.strip(".") for part in place.parts)
        media = is_audio_name(Path(place.name)) or is_other_media_name(Path(place.name))
        if (pattern is None or pattern.fullmatch(key)) and (not any_name or (media and not hidden)):
            content = "" if found.version is None else remote_content_id(found.address, found.version)
            yield ListedSource(found.address, place, found.size_bytes, found.problem, content)


def _patterns(key: str) -> re.Pattern[str]:
    """Compile a pattern. Brackets are sets of characters, and also stand for themselves: names often contain them."""
    key = f"{key}**" if key.endswith("/") else key
    return re.compile(f"{matcher(key).pattern}|{matcher(key.replace('[', '[[]')).pattern}", re.DOTALL)


# The standard `fnmatch` is not used: its `*` also matches slashes.
def matcher(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for keys (with `*`, `**`, `?` and `[…]`) to a regular expression for the whole key."""
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        elif pattern[at] in "*?":
            out, at = out + ("[^/]*" if pattern[at] == "*" else "[^/]"), at + 1
        # From `at + 2` on: a `]` directly after the `[` belongs to the set.
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out, at = out + (f"[^{inner[1:]}]" if inner[0] == "!" else f"[{inner}]"), end + 1
        else:
            out, at = out + re.escape(pattern[at]), at + 1
    return re.compile(out, re.DOTALL)


async def contents_of(
    sources: Sequence[Address], settings: Settings, hash_of: Callable[[SourceFile], str] = sha256_of
) -> list[str]:
    """Return the result of `content_of` for each source, in the same order. If some calls fail, the error of one of
    them is raised. `hash_of`: returns the sha256 of a file, computed or from a cache.

    Files are read one after the other; servers are asked concurrently."""
    at_once = asyncio.Semaphore(MAX_CONCURRENT)

    async def ask(source: Address) -> str:
        async with at_once:
            return await content_of(source, settings)

    # A source that is named twice is requested once.
    asked = {source: asyncio.create_task(ask(source)) for source in dict.fromkeys(sources) if not source.is_file}
    try:
        hashes = await asyncio.to_thread(_hashes, [s for s in sources if s not in asked], settings, hash_of)
        return [await asked[source] if source in asked else next(hashes) for source in sources]
    finally:
        for task in asked.values():
            task.cancel()
        await asyncio.gather(*asked.values(), return_exceptions=True)


def _hashes(paths: Sequence[Address], settings: Settings, hash_of: Callable[[SourceFile], str]) -> Iterator[str]:
    return iter([_hash(path, settings, hash_of) for path in paths])


def _hash(path: Address, settings: Settings, hash_of: Callable[[SourceFile], str] = sha256_of) -> str:
    with open_local(path, settings) as file:
        return hash_of(file)


async def content_of(address: Address, settings: Settings) -> str:
    """Return the identity of a source's content, from which the id of a job is computed.

    For a file, the identity is the sha256 in hexadecimal. For a remote source, it is a text with values that the server
    reports (see `remote_content_id`), so the content is not downloaded. If the server cannot be reached from this
    machine, it is the address alone. Raises SourceError for a file that cannot be read, and for an address that does
    not exist or is not allowed.
    """
    if address.is_file:
        return await asyncio.to_thread(_hash, address, settings)
    from worker.storage.sources.download import open_remote  # noqa: PLC0415  0.05 s, not needed for files

    check_source(address, settings)
    try:
        async with asyncio.timeout(IDENTIFY_TIMEOUT_S), open_remote(address, settings) as body:
            version = body.version
    except SourceNotFound:
        raise
    except (SttError, TimeoutError) as exc:
        # A refusal by the settings is final. Any other refusal may concern only this machine (its credentials or
        # network), and another machine may be able to read the source.
        if isinstance(exc, SourceRefused) and "STT_ALLOWED_SOURCES" in str(exc):
            raise
        return f"url:{address.text}"
    return remote_content_id(address, version)


__all__ = ["ListedSource", "content_of", "contents_of", "list_sources"]
