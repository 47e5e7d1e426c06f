"""The settings of the embedded recognizer's hardware, a part of `worker.settings.Settings`. No I/O."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class RecognizerSettings(BaseModel):
    """Settings of the embedded recognizer. The environment variable of a field is `STT_` followed by the field's name
    in capitals."""

    server_device: Literal["cpu", "cuda", "auto"] = Field(
        "cpu", description="Device of the embedded recognizer: cpu, cuda, or auto (cuda if there is a usable GPU)"
    )
    server_compute_type: str = Field(
        "",
        pattern="^[a-z0-9_]{0,20}$",
        description="Number type of the model, such as int8, int8_float16 or float16; empty: int8 on cpu, else float16",
    )
    server_batch_size: int = Field(
        0,
        ge=0,
        le=64,
        description="Maximum of sessions whose segments are recognized in one call; 0: 1 on cpu, else 8",
    )


__all__ = ["RecognizerSettings"]
