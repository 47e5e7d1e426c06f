"""Finds the version of an installed distribution (Python package)."""

from __future__ import annotations


def installed_version(distribution: str = "stt-batch") -> str | None:
    """Return the version number, or None if the distribution is not installed, as in a checkout without `pip
    install`."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  this import takes longer than a health check

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
