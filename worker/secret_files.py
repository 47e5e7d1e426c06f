"""Reads secrets from files, as Docker and Kubernetes mount them: `STT_API_KEY_FILE` is the path to STT_API_KEY.

Only secret settings can come from a file. The variable itself takes precedence over its file, so a deployment can name
a default file and still accept a key from the environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from worker.errors import SettingsError

MAX_SECRET_BYTES: Final = 65_536


def from_files(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Secrets of the settings in `names` (such as `api_key`) whose variable is empty and whose `STT_…_FILE` is set.

    White space around a secret is removed. Raises SettingsError if a file cannot be read or is empty.
    """
    found = {}
    for name in names:
        variable = f"STT_{name.upper()}"
        path = environ.get(f"{variable}_FILE")
        if path and not environ.get(variable):
            found[name] = read(path, f"{variable}_FILE")
    return found


def aws_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The option `secret_access_key` of an S3 client from AWS_SECRET_ACCESS_KEY_FILE, if that names a file and the
    variable itself is empty. Raises SettingsError."""
    file = environ.get("AWS_SECRET_ACCESS_KEY_FILE")
    if not file or environ.get("AWS_SECRET_ACCESS_KEY"):
        return {}
    return {"secret_access_key": read(file, "AWS_SECRET_ACCESS_KEY_FILE")}


def read(path: str | Path, named_by: str) -> str:
    """The secret in a file; `named_by` is the variable or option with its path. Raises SettingsError."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            secret = file.read(MAX_SECRET_BYTES).strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise SettingsError(f"{named_by}: {path} cannot be read ({reason})") from None
    if not secret:
        raise SettingsError(f"{named_by}: {path} is empty")
    return secret
