"""Types of the keyword arguments of the producer API, for type checkers. Imports only the standard library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

    from worker.storage.address import Address
    from worker.transcript.subtitles.style import Style

Format = Literal["json", "srt", "vtt", "txt", "html", "ass", "tsv", "ctm", "textgrid"]


class StyleOptions(TypedDict, total=False):
    """Layout of subtitle files."""

    preset: Literal["plain", "netflix-en", "netflix-zh-hant"]
    script: Literal["hk", "tw", "cn"] | None
    word_cues: bool
    bom: bool
    audio_events: Literal["keep", "remove"] | None


class BatchOptions(TypedDict, total=False):
    """Options that all jobs of a batch share. They are the fields of `tasks.job_spec.JobSpec` except `source` and
    `batch`; JobSpec describes each field."""

    out_dir: str | Path | Address | Sequence[str | Path | Address] | None
    out_name: str | None
    formats: Sequence[Format]
    style: Style | StyleOptions
    speed: float | Literal["max", "auto"] | None
    sessions: int | None
    skip_silence: bool | None
    channels: int | Literal["mix", "split"]
    channel_names: Sequence[str]
    track: int | Literal["all"] | None
    language: str | None
    glossary: Sequence[tuple[str, str]]
    session_options: Mapping[str, Any]
    priority: Literal["high", "normal", "low"]
    webhook: str | Address | None
    retain_s: float | None


class JobOptions(BatchOptions, total=False):
    """Options of one job."""

    batch: str | None


__all__ = ["BatchOptions", "Format", "JobOptions", "StyleOptions"]
