"""A path on this disk that a job names: whether it may be read."""

from __future__ import annotations

import os
from pathlib import Path

from worker.errors import SourceRefused
from worker.settings import Settings
from worker.storage.allowed import check_source


def check_local(source: str, settings: Settings) -> Path:
    """The path to open in place of `source`: where there is a list of what is allowed, without links, none of which
    may lead out of it. Raises SourceRefused. What is not there is left to who opens it."""
    check_source(source, settings)
    path = Path(source)
    if settings.allowed_sources:
        path = Path(os.path.realpath(path))
        try:
            check_source(str(path), settings)
        except SourceRefused:  # which names the place; that is not for who queued the job to know
            text = "a link on its way leads to a place that is not within STT_ALLOWED_SOURCES of this worker"
            raise SourceRefused(f"{source}: {text}") from None
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        return path
    check_size(size, source, settings)
    return path


def check_size(size_bytes: int, shown: str, settings: Settings) -> None:
    """Raises SourceRefused above STT_SOURCE_MAX_GB."""
    if settings.source_max_gb and size_bytes > settings.source_max_gb * 1e9:
        limit = f"{settings.source_max_gb:g} GB (STT_SOURCE_MAX_GB)"
        raise SourceRefused(f"{shown}: has {size_bytes / 1e9:.1f} GB, more than {limit}; split it, or raise the limit")


__all__ = ["check_local", "check_size"]
