"""A client that writes the messages of its connection to a file in `STT_RECORD_DIR`, for bug reports and replays.

A recording must never disturb a session: if the disk is full, the recording ends with a warning. Its size and the
number of files in the folder are limited, so that a forgotten setting cannot fill a disk.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import pybase64
import structlog
from pydantic import SecretStr

from worker.errors import EndpointError
from worker.realtime import messages
from worker.realtime.client import Client
from worker.realtime.messages import Lost
from worker.realtime.session_recording import CONNECTED, DROPPED, REFUSED, Entry, Sender, header, line
from worker.secret_masking import masker_of, show_url
from worker.settings import Settings
from worker.version import installed_version

MAX_FILE_BYTES: Final = 16_000_000
"""Size at which a recording ends. An hour of audio in messages of 0.25 s takes about 3 MB."""
MAX_FILES: Final = 500
"""Number of recordings in the folder; the oldest are removed."""
FLUSH_S: Final = 2.0
"""Seconds after which buffered entries are written. A worker that is killed loses only the entries after that."""
SUFFIX: Final = ".session.jsonl"

_log = structlog.get_logger(__name__)
_numbers = itertools.count(1)


class RecordingClient:
    """Like `Client`, with a recording of all messages."""

    def __init__(
        self,
        url: str,
        api_key: SecretStr,
        settings: Settings,
        on_event: Callable[[str, object], None],
        on_drop: Callable[[Lost], None],
    ) -> None:
        self._recording = _Recording(settings, url)
        self._pass_on_event = on_event
        self._pass_on_drop = on_drop
        self._client = Client(url, api_key, settings, self._event, self._drop)

    async def open(self) -> None:
        """Connect. Raises the errors of `Client.open`."""
        try:
            await self._client.open()
        except EndpointError as exc:
            self._recording.add("service", REFUSED, str(exc))
            self._recording.close()
            raise
        self._recording.add("service", CONNECTED)

    async def emit(self, event: str, payload: dict[str, Any] | None = None) -> bool:
        """Send an event; see `Client.emit`."""
        # Before the send: the answer may arrive before the send returns.
        self._recording.add("client", event, payload)
        return await self._client.emit(event, payload)

    async def close(self) -> None:
        """Close the connection and the recording."""
        # After this, the client closes its own connection: a replay must not take that for a lost connection.
        self._recording.close()
        await self._client.close()

    def _event(self, event: str, payload: object = None) -> None:
        self._recording.add("service", event, payload)
        self._pass_on_event(event, payload)

    def _drop(self, lost: Lost) -> None:
        self._recording.add("service", DROPPED, lost.reason)
        self._pass_on_drop(lost)


class _Recording:
    """One file. Created with the first entry; writes are buffered for at most about FLUSH_S."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._folder = Path(settings.record_dir)
        self._url = show_url(url)
        self._masker = masker_of(settings)
        self._file: TextIO | None = None
        self._ended = False
        self._size = 0
        self._began = self._flushed = time.monotonic()

    def add(self, sender: Sender, event: str, payload: object = None) -> None:
        """Write an entry. An error of the disk or of the entry ends the recording with a warning."""
        if self._ended:
            return
        try:
            if self._file is None:
                self._file = self._create()
            text = self._masker.text(line(self._entry(sender, event, payload)))
            self._size += len(text.encode("utf-8", "replace"))
            if self._size > MAX_FILE_BYTES:
                self.close()
                return
            self._file.write(text)
            # A killed worker is a usual subject of a bug report, so its recording must not stay in the buffer.
            if (now := time.monotonic()) - self._flushed >= FLUSH_S:
                self._flushed = now
                self._file.flush()
        except (OSError, ValueError, RecursionError) as exc:  # the last two: a message that JSON cannot express
            error = getattr(exc, "strerror", None) or str(exc)
            _log.warning("session recording ended", folder=str(self._folder), error=error)
            self.close()

    def close(self) -> None:
        """Write the buffered entries and close the file. May be called several times."""
        self._ended = True
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as exc:
                _log.warning("session recording is incomplete", file=file.name, error=exc.strerror or str(exc))

    def _create(self) -> TextIO:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_oldest(self._folder)
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S}.{now.microsecond:06d}Z-{os.getpid()}-{next(_numbers)}{SUFFIX}"
        # Only the user of the worker may read the text of the recording.
        descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = open(descriptor, "w", encoding="utf-8", errors="replace", newline="\n", buffering=1 << 16)  # noqa: PTH123, SIM115
        created_at = now.isoformat(timespec="seconds")
        text = header(endpoint=self._url, created_at=created_at, client=installed_version("stt-batch") or "")
        file.write(text)
        self._size = len(text)
        return file

    def _entry(self, sender: Sender, event: str, payload: object) -> Entry:
        at_s = time.monotonic() - self._began
        if event == messages.CHUNK and isinstance(payload, dict):
            pcm = pybase64.b64decode(messages.audio_of(payload))
            return Entry(at_s, sender, event, samples=len(pcm) // 2, sha256=hashlib.sha256(pcm).hexdigest())
        return Entry(at_s, sender, event, payload)


def _remove_oldest(folder: Path) -> None:
    """Remove the oldest recordings, so that one more recording fits within the limit of files. The name of a recording
    begins with its time."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIX))
    for name in names[: max(0, len(names) - MAX_FILES + 1)]:
        with suppress(FileNotFoundError):  # another process removes it at the same time
            (folder / name).unlink()
