"""The settings of the HTTP API (`stt-batch api`), a part of `worker.settings.Settings`. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from worker.http_keys import check_keys


class HttpSettings(BaseModel):
    """Settings of the HTTP API. The environment variable of a field is `STT_` followed by the field's name in
    capitals."""

    # -- the HTTP API (stt-batch api) ------------------------------------------------------------------------------
    http_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address on which the HTTP API listens; without STT_HTTP_KEYS always a loopback address",
    )
    http_port: int = Field(8080, ge=0, le=65535, description="Port of the HTTP API; 0 picks a free one")
    http_keys: Annotated[SecretStr, AfterValidator(check_keys)] = Field(
        SecretStr(""),
        description="Keys of the HTTP API, comma-separated: `name:role:key` with the role `read`, `submit` or"
        " `operate`; empty: no key, on this machine only",
    )
    http_allowed_sources: str = Field(
        "",
        description="Sources that jobs over HTTP may name, in the form of STT_ALLOWED_SOURCES; empty: only uploads",
    )
    http_allowed_outputs: str = Field(
        "", description="Outputs that jobs over HTTP may name, in the form of STT_ALLOWED_OUTPUTS; empty: none"
    )
    http_hosts: str = Field(
        "",
        description="Host names under which browsers may open the console, comma-separated; `localhost` and IP"
        " addresses always work",
    )
    http_cors_origins: str = Field(
        "", description="Origins whose pages may call the HTTP API with a key, comma-separated; empty: none"
    )
    http_key_max_waiting: int = Field(
        0, ge=0, le=1_000_000_000, description="Maximum of waiting jobs of one key of the HTTP API; 0: no limit"
    )
    http_key_max_audio_hours: float = Field(
        0, ge=0, description="Maximum of audio, in hours, of one key of the HTTP API in a day (UTC); 0: no limit"
    )
    http_key_max_requests_per_s: float = Field(
        0, ge=0, le=1_000_000, description="Maximum of requests per second of one key to one process; 0: no limit"
    )
    http_sync_max_s: float = Field(
        600,
        gt=0,
        le=86400,
        description="Maximum duration of the audio of a synchronous transcription over HTTP, in seconds",
    )
    uploads: str = Field(
        "",
        description="Where the HTTP API stores uploads: a folder or `s3://bucket/prefix` that the workers can read;"
        " empty: no uploads",
    )
    upload_max_gb: float = Field(5, gt=0, le=5000, description="Maximum size of an uploaded file, in GB")
    upload_timeout_s: float = Field(
        3600, gt=0, le=86400, description="Maximum duration of a request with uploads, in seconds"
    )


__all__ = ["HttpSettings"]
