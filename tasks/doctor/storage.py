"""Checks the outputs by writing a probe file to each of them. Also checks the free disk space for downloads."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

from tasks.doctor.finding import Finding, fail, ok, warn
from worker.errors import BadJob, OutputError, SourceError, SttError
from worker.open_files_limit import limit_warning, raise_limit
from worker.settings import Settings
from worker.storage import object_store
from worker.storage.access_policy import check_output
from worker.storage.address import Address, parse

PROBE: Final = b"written by stt-batch doctor, and deleted again\n"
_REMEDIES: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or raise the quota",
    errno.EROFS: "mount it writable",
    errno.ENOTDIR: "name a folder",
}
MIN_FREE_BYTES: Final = 1_000_000_000
"""Minimum free bytes on the disk of downloads and temporary files."""


async def check_outputs(settings: Settings, outputs: tuple[str, ...]) -> list[Finding]:
    """Write, read and delete a probe file in each folder or object store of `outputs` and of STT_ALLOWED_OUTPUTS."""
    listed = [entry.strip() for entry in settings.allowed_outputs.split(",") if entry.strip() not in ("", "*")]
    places = list(dict.fromkeys([*outputs, *listed]))
    if not places:
        return [ok("outputs", "none are set; test one with --out DIR")]
    return [await _probe(settings, place) for place in places]


async def _probe(settings: Settings, place: str) -> Finding:
    try:
        folder = parse(place)
    except BadJob as exc:
        return fail("outputs", str(exc))
    name = f".stt-doctor-{token_hex(6)}"
    try:
        check_output(folder, settings)
        if folder.is_file:
            made = await asyncio.to_thread(_probe_folder, folder.path, name)
            return ok("outputs", f"{folder}: {made}")
        await _probe_store(folder.below(name), settings.s3_endpoint)
    except (OutputError, SourceError, BadJob) as exc:
        return fail("outputs", str(exc))
    except OSError as exc:
        way = _REMEDIES.get(exc.errno or 0, "give this user the right to write there")
        return fail("outputs", f"{folder}: {exc.strerror or exc}", way)
    return ok("outputs", f"{folder}: written, read and deleted a probe")


def _probe_folder(folder: Path, name: str) -> str:
    """Write, read and delete a file in the folder, or in the nearest existing folder above it, because jobs create the
    missing ones. Returns a description."""
    missing = folder
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    path = folder / name
    try:
        path.write_bytes(PROBE)
        if path.read_bytes() != PROBE:
            raise OutputError(f"{folder}: a file has other content when it is read back")
    finally:
        with suppress(OSError):  # the finding is the failed write, not this error
            path.unlink()
    probed = "written, read and deleted a probe"
    return probed if folder == missing else f"does not exist, jobs will create it; {probed} in {folder}"


async def _probe_store(address: Address, endpoint: str) -> None:
    await object_store.put(address, PROBE, "text/plain", endpoint)
    try:
        async with object_store.read(address, 0, None, endpoint) as body:
            found = b"".join([chunk async for chunk in body.chunks])
    finally:
        await object_store.delete(address, endpoint)
    if found != PROBE:
        raise OutputError(f"{address.shown}: an object has other content when it is read back")


async def check_disk(settings: Settings) -> list[Finding]:
    """Check the free space for downloads and temporary files."""
    try:
        return [await asyncio.to_thread(_disk, settings)]
    except (SttError, OSError) as exc:
        return [fail("disk", str(exc), "set STT_TEMP_DIR (and TMPDIR) to a writable folder")]


def check_open_files(settings: Settings) -> Finding:
    """Raise the limit of open files, as a worker does, and check that it is enough for STT_WORKER_SESSIONS."""
    limit = raise_limit()
    if (text := limit_warning(limit, settings.worker_sessions)) is not None:
        what, _, remedy = text.partition(": ")
        return warn("open files", what, remedy)
    return ok("open files", "no limit" if limit is None else f"up to {limit}, enough for STT_WORKER_SESSIONS")


def _disk(settings: Settings) -> Finding:
    folder = Path(settings.temp_dir or tempfile.gettempdir())
    while not folder.exists() and folder != folder.parent:  # the worker creates missing folders
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return fail("disk", f"{folder} cannot be written to", "set STT_TEMP_DIR to a folder for downloads")
    free = shutil.disk_usage(folder).free
    text = f"{folder} has {free / 1e9:.1f} GB free"
    if free < MIN_FREE_BYTES:
        return fail("disk", text, "free some space, or set STT_TEMP_DIR")
    if free < settings.downloads_max_gb * 1e9:
        return warn(
            "disk", f"{text}, less than STT_DOWNLOADS_MAX_GB ({settings.downloads_max_gb:g})", "free some space"
        )
    return ok("disk", text)
