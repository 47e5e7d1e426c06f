"""Checks that the settings of a worker name a service."""

from __future__ import annotations

from worker.errors import SettingsError
from worker.settings import Settings


def check_service(settings: Settings) -> None:
    """Raises SettingsError if the settings have no address or no key of a service."""
    if not settings.url or not settings.api_key.get_secret_value():
        raise SettingsError("a worker needs a service: set STT_URL and STT_API_KEY")


__all__ = ["check_service"]
