"""The version of an installed distribution."""

from __future__ import annotations


def installed_version(distribution: str = "stt-batch") -> str | None:
    """The version number, or None if the distribution is not installed, as in a plain checkout."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  this import takes longer than a health check

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
