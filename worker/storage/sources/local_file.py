"""Opens local files whose paths are given in jobs, if the settings allow them."""

from __future__ import annotations

import os
from typing import Final

from worker.audio.opened_file import SourceFile, readable
from worker.errors import SourceError, SourceRefused
from worker.settings import Settings
from worker.storage.access_policy import allowed_folders, check_source
from worker.storage.address import Address
from worker.storage.forbidden_characters import control_characters
from worker.storage.open_beneath import OutsideAllowedFolders, open_file
from worker.text_escaping import printable
from worker.transient_os_errors import source_error

_KERNEL: Final = ("/proc", "/sys", "/dev")
_RAM_DISK: Final = "/dev/shm"  # noqa: S108


def open_local(address: Address, settings: Settings) -> SourceFile:
    """Open a file on this disk. If the settings have an allow-list, no link in the path may lead out of the allowed
    folders.

    Raises SourceNotFound, SourceRefused, SourceError, WorkerShortage.
    """
    check_source(address, settings)
    source = address.text
    if (reason := control_characters(source)) is not None:
        raise SourceRefused(f"{printable(source)}: the name {reason}")
    _check_kernel(source)
    roots = allowed_folders(settings.allowed_sources)
    try:
        handle = open_file(source, roots)
    except OutsideAllowedFolders:  # the message goes to the job's producer, so it must not reveal the link's target
        where = (
            "a place that is not within STT_ALLOWED_SOURCES of this worker" if roots else "an open file of a process"
        )
        raise SourceRefused(f"{source}: a link in its path leads to {where}") from None
    except OSError as exc:
        raise source_error(exc, source) from exc
    except ValueError as exc:
        raise SourceError(f"{source!r}: cannot be the name of a file: {exc}") from None
    file = SourceFile(readable(handle, source), source)
    try:
        # The size of the opened file: the path may name another file by now.
        check_size(file.stamp().size_bytes, source, settings)
    except BaseException:
        file.close()
        raise
    return file


def _check_kernel(source: str) -> None:
    """Check that `source` is not a file of the kernel or a device, because opening some of those has side effects.

    Raises SourceRefused. Files in /dev/shm are allowed: it is a RAM disk."""
    path = os.path.abspath(source)  # noqa: PTH100
    below = next((folder for folder in _KERNEL if path == folder or path.startswith(f"{folder}/")), None)
    if below is not None and not path.startswith(f"{_RAM_DISK}/"):
        raise SourceRefused(f"{source}: files below {below} are not read; give an audio file")


def check_size(size_bytes: int, shown: str, settings: Settings) -> None:
    """Raise SourceRefused if `size_bytes` is more than STT_SOURCE_MAX_GB. `shown`: the source, for the message."""
    if settings.source_max_gb and size_bytes > settings.source_max_gb * 1e9:
        limit = f"{settings.source_max_gb:g} GB (STT_SOURCE_MAX_GB)"
        raise SourceRefused(f"{shown}: has {size_bytes / 1e9:.1f} GB, more than {limit}; split it, or raise the limit")


__all__ = ["check_size", "open_local"]
