"""Limits the disk space of decoded audio, per job and for all jobs of this process.

A small compressed file may be large when it is decoded: 80 KB of Ogg with 16 channels take 307 MB if each channel is
streamed separately, and 48 hours of 64 channels would take 350 GB.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
from functools import lru_cache
from typing import Final

STEP_BYTES: Final = 16 << 20
"""Bytes written between two checks of the disk's free space."""


class TooLarge(Exception):
    """The decoded audio of one job exceeds the limit for a job. The text names the limit and its setting."""


class SpaceInUse(Exception):
    """Other jobs of this process use the disk space now. Retryable: a later attempt may succeed."""


class DecodedSpace:
    """Tracks the disk space of all jobs of a process. Thread-safe. Sizes are in bytes."""

    def __init__(self, total_bytes: float, job_bytes: float, free_bytes: float) -> None:
        """`total_bytes` and `job_bytes`: limits for all jobs and for one job. `free_bytes`: space to leave free on the
        disk."""
        self.total_bytes, self.job_bytes, self.free_bytes = total_bytes, job_bytes, free_bytes
        self._lock = threading.Lock()
        self._used = 0

    @property
    def used_bytes(self) -> int:
        return self._used

    def for_job(self) -> JobSpace:
        """Create the account of one job."""
        return JobSpace(self)

    def check(self, job: int, more: int) -> None:
        """Check that a job that already uses `job` bytes may use `more` further bytes. Raises TooLarge or SpaceInUse,
        or OSError if the disk is full."""
        if job + more > self.job_bytes:
            limit = f"{self.job_bytes / 1e9:g} GB (STT_DECODED_JOB_MAX_GB)"
            raise TooLarge(f"its decoded audio takes more than {limit}; split the file, or raise the limit")
        if self._used + more > self.total_bytes:
            limit = f"{self.total_bytes / 1e9:g} GB (STT_DECODED_MAX_GB)"
            raise SpaceInUse(f"the decoded audio of this worker's jobs takes {self._used / 1e9:.1f} of {limit}")
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if free - more < self.free_bytes:
            rest = f"{self.free_bytes / 1e9:g} GB stay free (STT_DISK_FREE_GB)"
            raise OSError(errno.ENOSPC, f"{free / 1e9:.1f} GB are left, {more / 1e9:.1f} GB are needed, {rest}")

    def take(self, job: int, count: int) -> None:
        """Reserve `count` bytes for a job that already uses `job` bytes. Raises the same errors as `check`."""
        with self._lock:
            self.check(job, count)
            self._used += count

    def release(self, count: int) -> None:
        """Release `count` reserved bytes."""
        with self._lock:
            self._used -= count


class JobSpace:
    """Tracks the disk space of one job. Used by one thread at a time."""

    def __init__(self, space: DecodedSpace) -> None:
        self._space = space
        self._written = 0
        self._reserved = 0

    def expect(self, count: float) -> None:
        """Check that `count` bytes are free, without reserving them. Called before a long decoding begins. Raises
        TooLarge, SpaceInUse, OSError."""
        self._space.check(0, int(count))

    def take(self, count: int) -> None:
        """Reserve `count` more bytes before they are written. Raises TooLarge, SpaceInUse, OSError."""
        if self._written + count > self._reserved:
            step = max(count, min(STEP_BYTES, int(self._space.job_bytes) - self._reserved))
            self._space.take(self._reserved, step)
            self._reserved += step
        self._written += count

    def release(self) -> None:
        """Release all space of the job. A second call does nothing."""
        reserved, self._reserved, self._written = self._reserved, 0, 0
        self._space.release(reserved)


UNBOUNDED: Final = DecodedSpace(float("inf"), 1e18, 0)


@lru_cache(maxsize=8)
def decoded_space(total_gb: float, job_gb: float, free_gb: float) -> DecodedSpace:
    """Return the instance that all jobs of this process share. The limits are in GB."""
    return DecodedSpace(total_gb * 1e9, min(total_gb, job_gb) * 1e9, free_gb * 1e9)


__all__ = ["UNBOUNDED", "DecodedSpace", "JobSpace", "SpaceInUse", "TooLarge", "decoded_space"]
