"""Converts settings to environment variables for child processes. No I/O."""

from __future__ import annotations

import os
from datetime import timedelta

from pydantic import SecretStr

from worker.settings import Settings
from worker.speed_option import show_speed


def as_environment(settings: Settings) -> dict[str, str]:
    """Return an environment from which a child process loads the same settings. The environment contains secrets, so it
    must not be printed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("STT_")}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, timedelta):
            value = int(value.total_seconds())
        elif name == "speed":
            value = show_speed(value)
        if name != "proxy" or value:  # an empty STT_PROXY means no proxy, not the default
            env[f"STT_{name.upper()}"] = str(value)
    return env
