"""Writes the output files of a transcript to folders on this disk and to object stores.

Every file is written completely or not at all, and a repeated delivery writes the same files. So after a failure the
whole delivery can be repeated.
"""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Sequence
from typing import Final

from worker import metrics
from worker.errors import OutputError, OutputUnavailable
from worker.settings import Settings
from worker.storage import object_store
from worker.storage.access_policy import allowed_folders, check_output
from worker.storage.address import Address
from worker.storage.outputs.local_files import LocalOutputs, check_name, write
from worker.transcript.formats import pieces
from worker.transcript.model import Transcript
from worker.transcript.subtitles.style import PLAIN, Style

# The limit of obstore for one request is a day (see `object_store._CLIENT`).
STORE_TIMEOUT_S: Final = 300.0
"""Time limit for all files of one transcript in one object store, in seconds."""
# The types are listed in this module, because the table of the module `mimetypes` depends on files of the system.
_CONTENT_TYPES: Final = {
    **{"srt": "application/x-subrip", "vtt": "text/vtt", "json": "application/json", "ass": "text/x-ssa"},
    **{"html": "text/html", "tsv": "text/tab-separated-values", "txt": "text/plain", "ctm": "text/plain"},
}


async def deliver(
    transcript: Transcript,
    folders: Sequence[Address],
    name: str,
    formats: Sequence[str],
    settings: Settings,
    *,
    style: Style = PLAIN,
) -> tuple[str, ...]:
    """Write the files `name.format` for each format into each of `folders` (on this disk, or in object stores).

    Returns the written paths and addresses. If the files cannot be written to one folder, the other folders are still
    tried. Then all failures are raised as one error: OutputUnavailable if all failures are temporary, otherwise
    OutputError.
    """
    failed: list[OutputError] = []
    written: list[str] = []
    for folder in folders:
        try:
            written += await _deliver(transcript, folder, name, tuple(formats), style, settings)
        except OutputError as exc:
            metrics.OUTPUT_FAILURES.labels(folder.scheme).inc()
            failed.append(exc)
    if failed:
        # A retry is only useful if it can write to all folders. It also writes the same files again to the folders that
        # succeeded.
        kind = OutputUnavailable if all(exc.retryable for exc in failed) else OutputError
        raise kind("; ".join(map(str, failed))) from failed[0]
    return tuple(written)


async def _deliver(
    transcript: Transcript, folder: Address, name: str, formats: tuple[str, ...], style: Style, settings: Settings
) -> list[str]:
    check_output(folder, settings)
    if folder.is_file:
        roots = allowed_folders(settings.allowed_outputs)
        paths = await asyncio.to_thread(
            write, transcript, LocalOutputs(folder.path, name, formats, style, roots, settings.absolute_paths)
        )
        return [str(path) for path in paths]
    name = str(check_name(name, folder.shown))
    try:
        async with asyncio.timeout(STORE_TIMEOUT_S):
            return await _put(transcript, folder, name, formats, style, settings)
    except TimeoutError:
        raise OutputUnavailable(f"cannot write {folder}: not finished within {STORE_TIMEOUT_S:g} s") from None


async def _put(
    transcript: Transcript, folder: Address, name: str, formats: tuple[str, ...], style: Style, settings: Settings
) -> list[str]:
    for fmt in sorted(formats, key=lambda name: name == "json"):  # JSON last: if it exists, the other files exist too
        target = folder.below(f"{name}.{fmt}")
        # In a thread: formatting a long transcript would delay the audio of all sessions on the event loop.
        data = await asyncio.to_thread(_bytes, transcript, fmt, style, target.text, settings.absolute_paths)
        await object_store.put(target, data, content_type(fmt), settings.s3_endpoint)
    return [folder.below(f"{name}.{fmt}").text for fmt in formats]


def _bytes(transcript: Transcript, fmt: str, style: Style, place: str, absolute_paths: bool) -> bytes:
    texts = pieces(transcript, fmt, style, place=place, absolute_paths=absolute_paths)
    return b"".join(text.encode("utf-8", "backslashreplace") for text in texts)


def content_type(fmt: str) -> str:
    """Return the media type (the HTTP header Content-Type) for files of a format, such as `srt`."""
    kind = _CONTENT_TYPES.get(fmt) or mimetypes.guess_type(f"x.{fmt}")[0] or "text/plain"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


__all__ = ["deliver"]
