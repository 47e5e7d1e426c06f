"""The version of an installed distribution."""

from __future__ import annotations


def installed_version(distribution: str = "stt-batch") -> str | None:
    """The version number; None if the distribution is not installed, as in a checkout."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  takes longer than a health check

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
