"""The measured behaviour of a real-time service, as `stt-batch doctor --probe` stores it, and its effect on settings.
No I/O.

Explicit settings have priority over the profile, and the profile has priority over defaults. A profile expires, because
services change.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.settings import Settings

LIFETIME_S: Final = 30 * 24 * 3600
"""Seconds for which a profile is used."""
LIMIT_SHARE: Final = 0.9
"""Share of the longest session after which a session is replaced at a pause."""
MARGIN_S: Final = 0.5
"""Seconds of silence that are sent in addition to the measured pause before a commit."""


class ServiceProfile(BaseModel):
    """The measured values. A value of None was not measured, or not found within the limits of the measurement."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str = Field(description="address of the service, without secrets")
    measured_at: float = Field(description="seconds since 1970")
    transport: str = Field(default="", description="websocket or polling")
    commit_pause_s: float | None = Field(default=None, description="seconds from the end of speech to its commit")
    commits_on_stop: bool | None = Field(default=None, description="stop-session commits the last words")
    word_times: bool | None = Field(default=None, description="commits have word times")
    drift_s: float | None = Field(default=None, description="seconds by which word times are later with each commit")
    max_speed: float | None = Field(default=None, description="highest accepted speed, as a factor of real time")
    refused_speed: float | None = Field(default=None, description="lowest speed that was not accepted")
    max_sessions: int | None = Field(default=None, description="number of sessions after which the next was refused")
    sessions_tested: int = Field(default=0, description="number of sessions that were open at the same time")
    idle_close_s: float | None = Field(default=None, description="seconds without a message until the service closes")
    session_limit_s: float | None = Field(
        default=None, description="longest session in seconds of audio, if it was found"
    )
    session_tested_s: float = Field(default=0.0, description="length of the longest session that was tested")
    options: dict[str, str] = Field(default_factory=dict, description="result for each session option")
    problems: tuple[str, ...] = Field(default=(), description="measurements that failed, with the reason")

    @property
    def expires_at(self) -> float:
        """Seconds since 1970."""
        return self.measured_at + LIFETIME_S


def profile_id(settings: Settings) -> str:
    """Return the name under which the profile for the service and key of `settings` is stored. The name reveals neither
    the service nor the key."""
    key = settings.api_key.get_secret_value()
    return hashlib.sha256(f"{settings.url}\n{key}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def read_profile(text: str | bytes | None, now: float) -> ServiceProfile | None:
    """Parse a stored profile. Returns None if `text` is empty, if the profile has expired, or if another version wrote
    it."""
    try:
        profile = ServiceProfile.model_validate_json(text or "")
    except ValidationError:
        return None
    return profile if profile.measured_at <= now < profile.expires_at else None


def apply_profile(settings: Settings, profile: ServiceProfile | None) -> tuple[Settings, dict[str, Any]]:
    """Return the settings, in which the values of `profile` replace defaults. Also returns the values that were
    replaced, by field name."""
    if profile is None:
        return settings, {}
    wanted: dict[str, Any] = {}
    if profile.transport == "polling":
        wanted["transport"] = "polling"
    if profile.max_sessions:
        wanted["api_key_max_sessions"] = profile.max_sessions
    if profile.max_speed is not None and profile.max_speed > 1:
        wanted["speed"] = math.floor(profile.max_speed * 10) / 10
    if profile.session_limit_s is not None:
        wanted["session_max_s"] = max(5.0, round(profile.session_limit_s * LIMIT_SHARE, 1))
    if profile.options.get("language_code") == "confirmed":
        wanted["language_option"] = "language_code"
    if profile.commit_pause_s is not None:
        wanted["tail_silence_min_s"] = min(60.0, round(profile.commit_pause_s + MARGIN_S, 1))
    applied = {name: value for name, value in wanted.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=applied), applied
