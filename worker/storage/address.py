"""Parses addresses of sources, output folders and webhooks: a path on this disk, or a URL of a known scheme. No I/O.

| address               | meaning                                                                         |
|-----------------------|---------------------------------------------------------------------------------|
| `s3://bucket/key`     | Amazon S3, or a compatible store at STT_S3_ENDPOINT                               |
| `gs://bucket/key`     | Google Cloud Storage                                                            |
| `az://container/key`  | Azure Blob Storage, in the account of AZURE_STORAGE_ACCOUNT_NAME                |
| `https://host/path`   | any web server (also `http://`); the query of a signed address is preserved      |
| anything else         | a path                                                                          |

A text is parsed once, where it enters the program: from the command line, the producer API, a job's JSON, a message in
Redis or a redirect. All other code passes `Address` values, so the address that is checked is also the one that is
opened. Keys of object stores are used as entered: they are not percent-decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from worker.errors import BadJob
from worker.storage.web_hosts import in_url, request_url

if TYPE_CHECKING:
    from yarl import URL

FILE: Final = "file"
"""The value of `Address.scheme` for a path. Users cannot enter it: `file://` is refused."""
OBJECTS: Final = ("s3", "gs", "az")
WEB: Final = ("http", "https")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_UNREADABLE: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f]")
"""Matches what obstore does not accept in a key: empty parts, the parts `.` and `..`, and control characters."""
UNUSUAL_PATH: Final = re.compile(r"//|/\.(/|$)|/$")
"""Matches the parts that `Path` removes from an absolute path."""
# Matches a URL within a text. The scheme has at most 32 characters, because without a limit the search in a text of
# 200,000 letters took minutes.
_URL_IN_TEXT: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s<>\"'|`)\]},]+")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a source, an output folder or a webhook. `str()` returns `shown`."""

    text: str = field(repr=False)
    """The entered text, for opening or storing the address. It may contain a signature, so it must not be displayed."""
    shown: str
    """The text for messages and records. A web address is shown without user, password, query and fragment."""
    scheme: str
    bucket: str = ""
    """The bucket or container. For a web address: the host as used for the connection, with the port if one was
    entered."""
    key: str = ""
    """The key of an object, or the path of a web address, without a leading slash."""
    http_url: URL | None = field(default=None, repr=False, compare=False)
    """The URL to request; only web addresses have one."""

    def __str__(self) -> str:
        return self.shown

    @property
    def is_file(self) -> bool:
        return self.scheme == FILE

    @property
    def is_web(self) -> bool:
        return self.scheme in WEB

    @property
    def path(self) -> Path:
        """The path of a file or folder. Not for URLs."""
        return Path(self.text)

    @property
    def host(self) -> str:
        """The host of a web address as it is used for the connection, an IPv6 address without brackets. Empty for other
        addresses."""
        return (self.http_url.raw_host or "") if self.http_url is not None else ""

    @property
    def port(self) -> int | None:
        """The port of a web address: the entered port, or the default port of the scheme. None for other addresses."""
        return self.http_url.port if self.http_url is not None else None

    @property
    def name(self) -> str:
        """The last part of the path or key, percent-decoded for a web address. It may be empty."""
        if self.is_file:
            return self.path.name
        last = self.key.rpartition("/")[2]
        return unquote(last) if self.is_web else last

    @property
    def stem(self) -> str:
        """The file name of a source without its extension: the default name of its transcript."""
        return self.path.stem if self.is_file else PurePosixPath(self.name).stem.strip(".") or "transcript"

    def below(self, name: str) -> Address:
        """Return the address of the file or object `name` in this folder. Not for web addresses."""
        if not self.is_file:
            return self.at(f"{self.key.rstrip('/')}/{name}".lstrip("/"))
        text = f"{self.text}/{name}"
        # A Path takes 17 us instead of 2, and a run asks for the outputs of each file several times.
        usual = text.startswith("/") and not UNUSUAL_PATH.search(text)
        return from_path(text if usual else self.path / name)

    def at(self, key: str) -> Address:
        """Return the address of the object `key` in the same bucket. Only for object stores."""
        text = f"{self.scheme}://{self.bucket}/{key}"
        return Address(text, text, self.scheme, self.bucket, key)


def unreadable_key(key: str) -> bool:
    """Whether obstore cannot open an object with this key."""
    return bool(_UNREADABLE.search(key.rstrip("/")))


def is_url(text: str) -> bool:
    """Whether an entered text is a URL, not a path."""
    return _URL.match(text) is not None


def from_path(path: str | Path) -> Address:
    """Return the address of a path on this disk."""
    text = str(path)
    # `text` stays unchanged: only the original bytes open the file.
    return Address(text, _decodable(text), FILE)


def parse(text: str) -> Address:
    """Parse a text that a user entered. A text that is not a URL of a known scheme is a path. Raises BadJob for an
    invalid URL."""
    match = _URL.match(text)
    if match is None:
        return from_path(text)
    scheme, shown = match[1].lower(), show(text)
    if scheme in WEB:
        return _web(text, scheme, shown)
    if scheme not in OBJECTS:
        raise BadJob(f"{shown}: {scheme}:// is not supported; give a path, or s3://, gs://, az://, https:// or http://")
    bucket, _, key = text[match.end() :].partition("/")
    if "@" in bucket:
        raise BadJob(f"{shown}: must not contain a key or a password; workers read them from their environment")
    if not _BUCKET.fullmatch(bucket):
        raise BadJob(f"{shown}: names no {'container' if scheme == 'az' else 'bucket'}: {scheme}://NAME/…")
    key = key.lstrip("/")
    if key.rstrip("/") and _UNREADABLE.search(key.rstrip("/")):
        raise BadJob(f"{shown}: the key must not contain empty parts, `.` or `..` as a part, or control characters")
    return Address(text, shown, scheme, bucket, key)


def _web(text: str, scheme: str, shown: str) -> Address:
    # Python's `urlsplit` removes tabs and line feeds without an error, so the checked address would not be the entered
    # one.
    if any(c.isspace() or ord(c) < 32 or ord(c) == 127 for c in text):
        raise BadJob(f"{shown}: is not a valid address: it contains a space or a control character")
    try:
        parts = urlsplit(text)
        if "@" in parts.netloc:
            raise BadJob(f"{shown}: must not contain a user name or a password; use a signed address")
        url = request_url(text)
    except ValueError as exc:
        raise BadJob(f"{shown}: is not a valid address: {exc}") from None
    host = in_url(url.raw_host or "")
    bucket = host if parts.port is None else f"{host}:{parts.port}"
    return Address(text, shown, scheme, bucket, parts.path.lstrip("/"), url)


def show(text: str) -> str:
    """Return an address in the form in which it may be displayed. Used for texts that are not an `Address`, such as a
    refused address.

    In a path, only bytes that are not UTF-8 are changed: they are escaped. From a URL the user and the password are
    removed. From a URL that does not belong to an object store, the fragment is removed too, and `?…` replaces the
    query."""
    match = _URL.match(text)
    if match is None:
        return _decodable(text)
    scheme = match[1].lower()
    # Only the part before the first slash can contain a user name, which ends with @. An @ in the path is not removed.
    start, slash, rest = text[match.end() :].partition("/")
    shown = f"{start.rpartition('@')[2]}{slash}{rest}"
    if scheme not in OBJECTS:
        # The query of a web address is often a signature, with which everyone can read the file. The keys of object
        # stores may contain `?` and `#`, and need no signature here.
        shown, found, _ = re.sub(r"#.*", "", shown, flags=re.DOTALL).partition("?")
        shown += "?…" if found else ""
    return f"{match[1]}://{shown}"


def scrub(text: str) -> str:
    """Return a text of another program, such as an error message, with every URL replaced by the result of `show`."""
    return _URL_IN_TEXT.sub(lambda match: show(match[0]), text)


def _decodable(text: str) -> str:
    """Escape surrogates, by which Python represents bytes of a path that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
