"""All settings: read once from the environment (`STT_*`), validated and immutable.

If a value is invalid, the process does not start. Its error message names the variable, the reason and the allowed
values. The environment is not read at import: call `load()` at the start of a process and pass the result on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.errors import SettingsError
from worker.header_values import check_header_value
from worker.http_settings import HttpSettings
from worker.proxy_url import check_proxy_setting, disabled_proxy
from worker.recognizer_settings import RecognizerSettings
from worker.redis_settings import RedisSettings
from worker.secret_files import from_files
from worker.service_url import check_service_url
from worker.session_options import check_option_name, check_options
from worker.speed_option import Speed, parse_speed, show_speed
from worker.validation_errors import Location, describe_errors

SERVICE_SAMPLE_RATES = (8000, 16000, 22050, 24000, 44100, 48000)


class Settings(HttpSettings, RecognizerSettings, RedisSettings, BaseSettings):
    """All settings. The environment variable of a field is `STT_` followed by the field's name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="STT_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    # -- the real-time service -------------------------------------------------------------------------------------
    url: Annotated[str, AfterValidator(check_service_url)] = Field(
        "",
        description="Address of the real-time service, for example https://cantonese.ai; may contain path and login",
    )
    api_key: SecretStr = Field(SecretStr(""), description="API key, sent as the header x-api-key")
    speed: Speed = Field(
        1.0,
        description="Speed of a session: 1 is real time, 2 twice as fast, `max` has no limit, `auto`"
        " adapts to the service",
    )
    worker_sessions: int = Field(
        8,
        ge=1,
        le=2000,
        description="Maximum of open sessions of one worker process, and of jobs that it runs at the same time",
    )
    job_max_sessions: int = Field(
        0,
        ge=0,
        le=2000,
        description="Maximum of sections of one file that are streamed at the same time; 0: as STT_WORKER_SESSIONS",
    )
    skip_silence: bool = Field(False, description="Skip silence instead of streaming it; times still refer to the file")
    speech_detector: Literal["auto", "level"] = Field(
        "auto",
        description="Voice activity detection: auto is Silero VAD if the extra `local` is installed;"
        " level uses the loudness only",
    )
    price_per_hour: float = Field(
        0, ge=0, description="Price of an hour of streamed audio, for cost estimates; 0: no estimates"
    )
    api_key_max_sessions: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Maximum of open sessions of this API key, across all workers; 0: no limit but that of the service",
    )
    api_key_max_starts_per_s: float = Field(
        0,
        ge=0,
        le=10_000,
        description="Maximum of sessions opened per second with this API key, across all workers; 0: no limit",
    )
    pause_refused_key: bool = Field(True, description="Whether a refused key pauses its queue; false: its jobs fail")
    alert_webhook: str = Field("", description="Address that gets a webhook when a key is paused or resumed")
    transport: Literal["auto", "websocket", "polling"] = Field(
        "auto", description="Socket.IO transport; auto is websocket, or polling if websocket cannot connect"
    )
    proxy: Annotated[str, AfterValidator(check_proxy_setting)] = Field(
        "",
        description="Proxy for the service, downloads and webhooks: `http://user:password@host:port`, `https://`,"
        " `socks5://` or `socks5h://`; `none` or an empty value: no proxy; `auto` or not set: HTTP_PROXY,"
        " HTTPS_PROXY and ALL_PROXY; hosts in NO_PROXY use no proxy",
    )
    ca_file: str = Field(
        "",
        description="PEM file with certificate authorities to trust in addition to those of the system"
        " (or of SSL_CERT_FILE)",
    )
    client_cert_file: str = Field(
        "", description="PEM file with the client certificate for the service, or also its key"
    )
    client_key_file: str = Field("", description="PEM file with the key of STT_CLIENT_CERT_FILE, without a passphrase")
    sample_rate: int = Field(16000, description="Sample rate of the streamed PCM, in Hz")
    frame_s: float = Field(0.25, ge=0.1, le=1.0, description="Seconds of audio in one message, at a limited speed")
    frame_max_s: float = Field(1.0, ge=0.1, le=5.0, description="Seconds of audio in one message, at `max` speed")
    connect_timeout_s: float = Field(10, gt=0, le=120, description="Seconds to wait for a connection")
    start_timeout_s: float = Field(20, gt=0, le=300, description="Seconds to wait for session-started")
    session_max_s: float = Field(
        480, ge=0, le=86400, description="Seconds of audio after which a session ends at the next pause; 0: no limit"
    )
    stall_timeout_s: float = Field(
        60, gt=0, le=900, description="Seconds without an answer after which a session has stalled and is replaced"
    )
    close_timeout_s: float = Field(3, gt=0, le=60, description="Seconds a connection may take to close")
    send_ahead_max_s: float = Field(
        30,
        ge=5,
        le=600,
        description="Maximum of audio, in seconds, sent ahead of the service's last message, above 1x speed",
    )
    tail_silence_min_s: float = Field(
        2.0,
        ge=0,
        le=60,
        description="Minimum of silence, in seconds, streamed after the end so that the last words are committed",
    )
    tail_silence_max_s: float = Field(
        40, ge=1, le=300, description="Maximum of silence, in seconds, streamed after the end"
    )
    session_retries: int = Field(4, ge=0, le=100, description="Retries of a failed session; reset by each commit")

    # -- jobs and results ------------------------------------------------------------------------------------------
    celery_remote_control: bool = Field(
        False, description="Whether workers accept Celery's remote control: `celery inspect`, `celery control`, Flower"
    )
    intake_timeout_s: float = Field(
        120,
        ge=1,
        le=3600,
        description="Seconds the intake may take to identify one source, by its content or its server",
    )
    result_ttl: timedelta = Field(timedelta(days=7), description="Seconds for which a finished job stays in Redis")
    lease_s: float = Field(30, ge=1, le=3600, description="Seconds until the lease of a job expires without renewal")
    lease_renew_s: float = Field(8, ge=0.2, le=1200, description="Seconds between renewals of a lease")
    reap_interval_s: float = Field(5, ge=0.1, le=600, description="Seconds between searches for jobs of dead workers")
    language_option: Annotated[str, AfterValidator(check_option_name)] = Field(
        "", description="Session option that gets the language of a job, such as `language_code`; empty: none"
    )
    session_options: Annotated[str, AfterValidator(check_options)] = Field(
        "", description='JSON object of options to add to `start-session`, such as `{"language_code": "yue"}`'
    )
    record_dir: str = Field(
        "",
        description="Folder for recordings of the messages of each session, for bug reports (texts, but no audio);"
        " empty: none",
    )
    glossary: str = Field("", description="CSV or TSV file of corrections (heard, wanted) for jobs without a glossary")
    job_attempts: int = Field(
        5, ge=1, le=1000, description="Attempts in a row without a commit after which a job fails"
    )
    job_backoff_s: float = Field(
        10, ge=0.1, le=600, description="Seconds until the next attempt after a failed one; doubled each time"
    )

    # -- sources and outputs ---------------------------------------------------------------------------------------
    s3_endpoint: str = Field("", description="Address of the S3 service for `s3://`; default: AWS_ENDPOINT_URL, or AWS")
    allowed_sources: str = Field(
        "",
        description="Sources that jobs may read, comma-separated: folders, `s3://bucket/prefix`, `https://host/path`,"
        " `https://*.host`; `*`: all; empty: all but HTTP from private addresses",
    )
    allowed_outputs: str = Field(
        "", description="Outputs that jobs may write, comma-separated: folders, `s3://bucket/prefix`; empty: all"
    )
    absolute_paths: bool = Field(
        False, description="Whether pages and summaries contain absolute paths of this machine"
    )
    source_max_gb: float = Field(50, ge=0, description="Maximum size of a source, in GB; 0: no limit")
    source_max_hours: float = Field(48, ge=0, description="Maximum duration of a source, in hours; 0: no limit")
    source_max_channels: int = Field(64, ge=1, le=1024, description="Maximum of channels of a source")
    temp_dir: str = Field(
        "",
        description="Folder for downloads, cleaned up automatically; default: in the system's folder for"
        " temporary files",
    )
    downloads_max_gb: float = Field(
        20, gt=0, description="Maximum disk space, in GB, for the downloads of one worker process"
    )
    download_timeout_s: float = Field(3600, gt=0, description="Maximum duration of one download, in seconds")
    decoded_max_gb: float = Field(
        50, gt=0, description="Maximum disk space, in GB, for the decoded audio of one worker process"
    )
    decoded_job_max_gb: float = Field(
        12,
        gt=0,
        description="Maximum disk space, in GB, for the decoded audio of one job; a larger job has one"
        " section per channel",
    )
    disk_free_gb: float = Field(0.25, ge=0, description="Disk space, in GB, that decoded audio leaves free")
    output_attempts: int = Field(
        14, ge=1, le=1000, description="Attempts in a row to write a finished transcript before its job fails"
    )

    # -- webhooks --------------------------------------------------------------------------------------------------
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Secret that signs webhooks: `whsec_…` or at least 24 characters; two,"
        " comma-separated, during a change",
    )
    webhook_attempts: int = Field(
        12, ge=1, le=100, description="Attempts to deliver a webhook before it becomes a dead letter"
    )
    webhook_backoff_s: float = Field(
        5, ge=0.05, le=3600, description="Seconds until the second attempt; multiplied by four each time, up to 6 hours"
    )
    webhook_timeout_s: float = Field(
        15, gt=0, le=60, description="Maximum duration of one attempt to deliver a webhook, in seconds"
    )
    allowed_webhooks: str = Field(
        "",
        description="Destinations of webhooks, comma-separated: `https://host/path`, `https://*.host`; `*`: all;"
        " empty: all but private addresses",
    )

    # -- monitoring ------------------------------------------------------------------------------------------------
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level of log lines; libraries write from `warning` on, except at `debug`"
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Format of log lines: text, or one JSON object per line"
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of a worker's `/metrics` for Prometheus; 0: off")
    metrics_host: str = Field("127.0.0.1", min_length=1, description="Address on which STT_METRICS_PORT is opened")
    health_file: str = Field(
        "", description="File that a worker, server, intake or watch updates for `stt-batch health`; empty: none"
    )

    # -- the self-hosted service (stt-batch server) ----------------------------------------------------------------
    server_host: str = Field("127.0.0.1", description="Address on which the self-hosted service listens")
    server_port: int = Field(8808, ge=0, le=65535, description="Port of the self-hosted service; 0 picks a free one")
    server_api_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys that the self-hosted service accepts, comma-separated; default: STT_API_KEY",
    )
    server_max_sessions: int = Field(256, ge=1, description="Maximum of open sessions of the self-hosted service")
    server_max_backlog_s: float = Field(
        120,
        gt=1,
        description="Maximum of audio, in seconds, that a session may be ahead of recognition before `queue_overflow`",
    )
    server_idle_timeout_s: float = Field(
        60, gt=0, description="Seconds without a message of the client after which a session ends"
    )
    server_endpointing: Literal["quick", "service"] = Field(
        "quick",
        description="When text is committed: `quick` (after a pause of 0.6 s or 20 s of speech) or like"
        " the real `service` (1.5 s, 36 s)",
    )
    server_commit_silence_s: float = Field(
        0,
        ge=0,
        le=10,
        description="Pause, in seconds, after which text is committed; 0: as in STT_SERVER_ENDPOINTING",
    )
    server_segment_max_s: float = Field(
        0,
        ge=0,
        le=60,
        description="Maximum of speech, in seconds, before text is committed; 0: as in STT_SERVER_ENDPOINTING",
    )
    server_recognizer: str = Field(
        "faster-whisper", description="Recognition engine of the self-hosted service: a name, or `module:factory`"
    )
    model: str = Field("tiny.en", description="Model of the engine: a name or a folder")
    server_model_cache: str = Field(
        "", description="Folder for assembled and downloaded models; default: the user's cache folder"
    )
    server_language: str = Field("", description="Language code of the self-hosted service; empty: the model's default")
    server_threads: int = Field(
        0, ge=0, le=256, description="Maximum of recognitions at the same time; 0: one per available core"
    )

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("speed", mode="before")
    @classmethod
    def _speed(cls, value: object) -> Speed:
        return parse_speed(value)

    @field_validator("result_ttl", mode="before")
    @classmethod
    def _ttl(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.strip().isdecimal() else value

    @field_validator("sample_rate")
    @classmethod
    def _rate(cls, value: int) -> int:
        if value not in SERVICE_SAMPLE_RATES:
            raise ValueError(f"must be one of {', '.join(map(str, SERVICE_SAMPLE_RATES))}")
        return value

    @field_validator("server_commit_silence_s", "server_segment_max_s")
    @classmethod
    def _endpointing(cls, value: float, info: ValidationInfo) -> float:
        minimum = 0.1 if info.field_name == "server_commit_silence_s" else 5
        if 0 < value < minimum:
            raise ValueError(f"must be 0 (the default of STT_SERVER_ENDPOINTING) or at least {minimum:g}")
        return value

    @field_validator("api_key", "server_api_keys")
    @classmethod
    def _header_values(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        keys = value.get_secret_value()
        for key in keys.split(",") if info.field_name == "server_api_keys" and "," in keys else [keys]:
            check_header_value(key.strip() if key is not keys else key)
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.lease_renew_s * 2 > self.lease_s:
            raise ValueError(
                "STT_LEASE_RENEW_S must be at most half of STT_LEASE_S, or a lease can expire while its worker runs"
            )
        if self.reap_interval_s > self.lease_s:
            raise ValueError(
                "STT_REAP_INTERVAL_S must be at most STT_LEASE_S, or jobs of dead workers wait longer than their leases"
            )
        if self.tail_silence_min_s > self.tail_silence_max_s:
            raise ValueError("STT_TAIL_SILENCE_MIN_S must be at most STT_TAIL_SILENCE_MAX_S")
        if self.client_key_file and not self.client_cert_file:
            raise ValueError("STT_CLIENT_KEY_FILE needs STT_CLIENT_CERT_FILE")
        return self


SECRET_SETTINGS: Final = tuple(
    name
    for name, field in Settings.model_fields.items()
    if field.annotation is SecretStr or name in ("redis_url", "proxy")
)
"""Settings that may come from a file: `STT_API_KEY_FILE` names the file with STT_API_KEY. See `worker.secret_files`."""


class _ExplicitSettings(Settings):
    """The same settings as `Settings`, but they are read only from arguments and not from the environment of the
    process."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from `environ` (default: the environment of the process) and the files that it names.

    `overrides`: values by field name, which take precedence. Raises SettingsError with a list of all invalid values, or
    TypeError for an override that is not a setting.
    """
    if unknown := overrides.keys() - Settings.model_fields.keys():
        raise TypeError(f"not settings: {', '.join(sorted(unknown))}")
    try:
        overrides = {**disabled_proxy(os.environ if environ is None else environ), **overrides}
        if environ is None:
            return Settings(**{**from_files(os.environ, SECRET_SETTINGS), **overrides})
        environ = {**environ, **{f"STT_{k.upper()}": v for k, v in from_files(environ, SECRET_SETTINGS).items()}}
        values = {k.removeprefix("STT_").lower(): v for k, v in environ.items() if k.startswith("STT_") and v}
        return _ExplicitSettings(**{**values, **overrides})
    except ValidationError as exc:
        raise SettingsError(describe_errors(exc, _variable)) from None


def _variable(location: Location) -> str:
    return f"STT_{location[0]}".upper() if location else ""


__all__ = [
    "SECRET_SETTINGS",
    "SERVICE_SAMPLE_RATES",
    "Settings",
    "Speed",
    "load",
    "parse_speed",
    "show_speed",
]
