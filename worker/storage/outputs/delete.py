"""Deletes the output files of a job."""

from __future__ import annotations

import asyncio
import os

from worker.errors import OutputError
from worker.settings import Settings
from worker.storage import object_store
from worker.storage.access_policy import allowed_folders, check_output
from worker.storage.address import Address
from worker.storage.open_beneath import OutsideAllowedFolders, open_folder


async def delete_output(output: Address, settings: Settings) -> bool:
    """Delete one file or object. Returns whether it existed (always True for an object). Raises OutputError."""
    check_output(output, settings)
    if not output.is_file:
        await object_store.delete(output, settings.s3_endpoint)
        return True
    return await asyncio.to_thread(_unlink, output, allowed_folders(settings.allowed_outputs))


def _unlink(output: Address, roots: tuple[str, ...]) -> bool:
    path = output.path
    if not path.parent.is_dir():
        return False
    try:
        folder = open_folder(str(path.parent), roots)
        try:
            os.unlink(path.name, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        return False
    except (OSError, OutsideAllowedFolders) as exc:
        reason = exc.strerror or exc if isinstance(exc, OSError) else exc
        raise OutputError(f"cannot delete {output}: {reason}") from exc
    return True


__all__ = ["delete_output"]
