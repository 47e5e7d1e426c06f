"""Reads secrets from files, as Docker and Kubernetes mount them: `STT_API_KEY_FILE` is the path to STT_API_KEY.

Only secret settings can come from a file. STT_API_KEY itself takes precedence over the file, so a deployment can name a
default file and still accept a key from the environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from worker.errors import SettingsError

MAX_SECRET_BYTES: Final = 65_536


def from_files(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Read the settings in `names` (such as `api_key`) whose own variable is empty and whose variable `STT_…_FILE` is
    set.

    Returns the secrets by name, without white space around them. Raises SettingsError if a file cannot be read or is
    empty.
    """
    found = {}
    for name in names:
        variable = f"STT_{name.upper()}"
        path = environ.get(f"{variable}_FILE")
        if path and not environ.get(variable):
            found[name] = read(path, f"{variable}_FILE")
    return found


def aws_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Read the option `secret_access_key` of an S3 client from the file that AWS_SECRET_ACCESS_KEY_FILE names.

    Returns no option if AWS_SECRET_ACCESS_KEY_FILE is empty, or if AWS_SECRET_ACCESS_KEY is set. Raises SettingsError
    if the file cannot be read."""
    file = environ.get("AWS_SECRET_ACCESS_KEY_FILE")
    if not file or environ.get("AWS_SECRET_ACCESS_KEY"):
        return {}
    return {"secret_access_key": read(file, "AWS_SECRET_ACCESS_KEY_FILE")}


def read(path: str | Path, named_by: str) -> str:
    """Read the secret in the file `path`. `named_by`: the variable or option that names the file, for error messages.
    Raises SettingsError."""
    try:
        # `utf-8-sig` removes the byte order mark that editors of Windows write.
        with Path(path).open(encoding="utf-8-sig") as file:
            secret = file.read(MAX_SECRET_BYTES).strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise SettingsError(f"{named_by}: {path} cannot be read ({reason})") from None
    if not secret:
        raise SettingsError(f"{named_by}: {path} is empty")
    return secret
