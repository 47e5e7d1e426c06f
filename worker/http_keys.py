"""Parses the keys of the HTTP API: `name:role:key`, separated by commas or line breaks. No I/O."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import SecretStr

from worker.header_values import check_header_value

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Role(StrEnum):
    """What the bearer of a key may do.

    `read` sees all jobs and changes none. `submit` submits jobs, and sees and changes only those. `operate` may do
    everything."""

    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a key: the name of the key, and its role."""

    name: str
    role: Role

    @property
    def sees_all(self) -> bool:
        return self.role is not Role.SUBMIT

    @property
    def may_submit(self) -> bool:
        return self.role is not Role.READ

    @property
    def may_operate(self) -> bool:
        return self.role is Role.OPERATE

    @property
    def producer(self) -> str:
        """The name of the producer in the records of this principal's jobs."""
        return f"http:{self.name}"


LOCAL: Final = Principal("local", Role.OPERATE)
"""The principal of every request if there are no keys. The API then listens on a loopback address only."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys with their principals. Only digests of the keys are stored."""

    entries: tuple[tuple[bytes, Principal], ...] = field(repr=False)

    def find(self, key: str) -> Principal | None:
        """Return the principal of a key, or None. Takes the same time for every key of any length."""
        given, found = _digest(key), None
        # Compare with every key, without an early exit: the time must not reveal which key matched.
        for digest, principal in self.entries:
            if hmac.compare_digest(given, digest):
                found = principal
        return found

    def __bool__(self) -> bool:
        return bool(self.entries)


def split_keys(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, role and key of each entry. Missing parts are empty."""
    for item in re.split(r"[,\r\n]", text):
        if item.strip():
            name, _, rest = item.strip().partition(":")
            role, _, key = rest.partition(":")
            yield name.strip(), role.strip(), key.strip()


def parse_keys(text: str) -> Keyring:
    """Parse the value of STT_HTTP_KEYS. Raises ValueError, whose message contains no key."""
    entries: list[tuple[bytes, Principal]] = []
    roles: dict[str, Role] = {}
    for number, (name, role_text, key) in enumerate(split_keys(text), 1):
        if not name or not role_text or not key:
            raise ValueError(f"entry {number} must have the form name:role:key")
        if not _NAME.fullmatch(name):
            raise ValueError(f"entry {number}: the name must be 1 to 64 letters, digits or . _ -")
        try:
            role = Role(role_text.lower())
        except ValueError:
            raise ValueError(f"entry {number} ({name}): the role must be read, submit or operate") from None
        if roles.setdefault(name, role) is not role:
            raise ValueError(f"entry {number}: {name} has two roles; give each role a name of its own")
        check_header_value(key)
        digest = _digest(key)
        if any(digest == other and found.name != name for other, found in entries):
            raise ValueError(f"entry {number} ({name}): another name has the same key")
        entries.append((digest, Principal(name, role)))
    return Keyring(tuple(entries))


def check_keys(value: SecretStr) -> SecretStr:
    """Validate STT_HTTP_KEYS. Raises ValueError."""
    parse_keys(value.get_secret_value())
    return value


def _digest(key: str) -> bytes:
    # Digests have one length, so the time of a comparison does not reveal the length of a key.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


__all__ = ["LOCAL", "Keyring", "Principal", "Role", "check_keys", "parse_keys", "split_keys"]
