"""Addresses at which a transcript page looks for its audio, relative to the page where possible. No I/O."""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePath, PurePosixPath
from typing import Final
from urllib.parse import quote, urlsplit

# A plain host name, or an IP address (version 6 in brackets). Characters with a meaning in a content security policy
# are not allowed.
_HOST: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def web_address(path: str) -> tuple[str, str] | None:
    """Return the origin and the URL of audio on a web server, or None for audio in other locations.

    The host must be a plain name or an IP address. With `*`, a space or a semicolon in the host, the content security
    policy of the page would allow more addresses."""
    try:
        parts = urlsplit(path)
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        return None
    host = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"
    return origin, f"{origin}{quote(parts.path, safe='/%')}"  # no query: it may contain a signature


def audio_addresses(
    path: str, name: str, place: str | None, web: tuple[str, str] | None, *, absolute_paths: bool
) -> list[str]:
    """Return the addresses at which the page looks for the audio, in this order."""
    found = [] if place is None else _from_page(path, place)
    if web is not None:
        found.append(web[1])
    elif PurePath(path).is_absolute():
        found += [PurePosixPath(path).as_uri()] if absolute_paths else []
    elif _SCHEME.match(path) is None:
        found.append(quote(path))
    beside = f"./{quote(name, safe='')}"
    return found if beside.removeprefix("./") in found else [*found, beside]


def _from_page(path: str, place: str) -> list[str]:
    """Return a list with the path of the audio relative to the page. The list is empty if there is no useful relative
    path.

    A relative path stays valid if a folder that contains both files is moved, or served by a web server."""
    (root, audio), (page_root, page) = _rooted(path), _rooted(place)
    if root != page_root or not (audio.startswith("/") and page.startswith("/")):
        return []
    folder = posixpath.dirname(page)
    if not root and posixpath.commonpath([audio, folder]) == "/":  # the root folder cannot be moved
        return []
    return [quote(posixpath.relpath(audio, folder))]


def _rooted(place: str) -> tuple[str, str]:
    """Split a location into its root and its absolute path.

    Returns ("", path) for a path, and (scheme and bucket, "/" + key) for an address of an object store."""
    scheme, found, rest = place.partition("://")
    if not found:
        return "", place
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", f"/{key}"
