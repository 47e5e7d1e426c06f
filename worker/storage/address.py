"""What names a source or an output folder: a path on this disk, or an address with a scheme (pure).

| address               | what it is                                                                      |
|-----------------------|---------------------------------------------------------------------------------|
| `s3://bucket/key`     | Amazon S3, or what speaks its protocol at STT_S3_ENDPOINT                         |
| `gs://bucket/key`     | Google Cloud Storage                                                            |
| `az://container/key`  | Azure Blob Storage, in the account of AZURE_STORAGE_ACCOUNT_NAME                |
| `https://host/path`   | any web server (also `http://`); a signed address keeps its query                |

Keys are taken as they are: nothing in them is percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from worker.errors import BadJob
from worker.storage.web_hosts import in_url, request_url

OBJECTS: Final = ("s3", "gs", "az")
WEB_PORTS: Final = {"http": 80, "https": 443}
WEB: Final = tuple(WEB_PORTS)
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_UNREADABLE: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f]")
"""In a key: empty parts, `.` and `..`, and control characters, which obstore does not take."""
# A scheme has a bound here: without one a text of 200,000 letters took minutes.
_URL_IN_TEXT: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s<>\"'|`)\]},]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A place that is not on this disk."""

    url: str
    """As it was given, with the signature of a signed address: never to be shown, see `shown`."""
    scheme: str
    bucket: str
    """The bucket or container; for a web address the host as used for the connection, with its port if it names one."""
    key: str
    """Without a slash in front."""

    @property
    def is_web(self) -> bool:
        return self.scheme in WEB

    @property
    def shown(self) -> str:
        """For people and records: without user, password, query and fragment."""
        return show(self.url)

    @property
    def host(self) -> str:
        """The host of a web address as used for the connection; IPv6 without brackets."""
        return urlsplit(f"//{self.bucket}").hostname or ""

    @property
    def port(self) -> int:
        """The port of a web address."""
        return urlsplit(f"//{self.bucket}").port or WEB_PORTS[self.scheme]

    @property
    def name(self) -> str:
        """The last part of the key, as a file name; may be empty."""
        last = self.key.rpartition("/")[2]
        return unquote(last) if self.is_web else last

    def below(self, name: str) -> Address:
        """The object `name` in this folder. Only for object stores."""
        key = f"{self.key.rstrip('/')}/{name}".lstrip("/")
        return Address(f"{self.scheme}://{self.bucket}/{key}", self.scheme, self.bucket, key)


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def parse(text: str) -> Address | None:
    """The address, or None for a path on this disk. Raises BadJob for an address that cannot be one."""
    match = _URL.match(text)
    if match is None:
        return None
    scheme, shown = match[1].lower(), show(text)
    if scheme in WEB:
        return _web(text, scheme, shown)
    if scheme not in OBJECTS:
        raise BadJob(f"{shown}: {scheme}:// is not known; give a path, or s3://, gs://, az://, https:// or http://")
    bucket, _, key = text[match.end() :].partition("/")
    if "@" in bucket:
        raise BadJob(f"{shown}: must not hold a key or a password; the workers have them in their environment")
    if not _BUCKET.fullmatch(bucket):
        raise BadJob(f"{shown}: names no {'container' if scheme == 'az' else 'bucket'}: {scheme}://NAME/…")
    key = key.lstrip("/")
    if key.rstrip("/") and _UNREADABLE.search(key.rstrip("/")):
        raise BadJob(f"{shown}: a key with an empty part, with `.` or `..` as a part, or with control characters")
    return Address(text, scheme, bucket, key)


def _web(text: str, scheme: str, shown: str) -> Address:
    if any(c.isspace() or ord(c) < 32 or ord(c) == 127 for c in text):
        raise BadJob(f"{shown}: is not an address: it contains a space or a control character")
    try:
        parts = urlsplit(text)
        if "@" in parts.netloc:
            raise BadJob(f"{shown}: must not contain a user name or a password; use a signed address")
        url = request_url(text)
    except ValueError as exc:
        raise BadJob(f"{shown}: is not an address: {exc}") from None
    host = in_url(url.raw_host or "")
    return Address(text, scheme, host if parts.port is None else f"{host}:{parts.port}", parts.path.lstrip("/"))


def show(text: str) -> str:
    """A path as it is, but for bytes that are no UTF-8; of an address what may stand in records: no user, no password,
    no query, no fragment."""
    match = _URL.match(text)
    if match is None:
        return text.encode("utf-8", "backslashreplace").decode()
    scheme = match[1].lower()
    # Of what may follow an @ in the path nothing is lost: a user stands before the first slash.
    start, slash, rest = text[match.end() :].partition("/")
    shown = f"{start.rpartition('@')[2]}{slash}{rest}"
    if scheme not in OBJECTS:
        shown, found, _ = re.sub(r"#.*", "", shown, flags=re.DOTALL).partition("?")
        shown += "?…" if found else ""
    return f"{match[1]}://{shown}"


def scrub(text: str) -> str:
    """A text of others, such as an error message, with every address in it as `show` has it."""
    return _URL_IN_TEXT.sub(lambda match: show(match[0]), text)


def output_names(folders: Sequence[str], name: str, formats: Sequence[str]) -> tuple[str, ...]:
    """The files of a transcript: for each of the folders and addresses `name.format`, in the order of the formats.
    Raises BadJob for a folder that is no address."""
    return tuple(_file(folder, f"{name}.{fmt}") for folder in folders for fmt in formats)


def _file(folder: str, name: str) -> str:
    address = parse(folder)
    return str(Path(folder) / name) if address is None else address.below(name).url


def stem(text: str) -> str:
    """Name of a source without its ending: what its transcript is called by default."""
    if not is_url(text):
        return Path(text).stem
    address = parse(text)
    return (PurePosixPath(address.name).stem.strip(".") if address is not None else "") or "transcript"
