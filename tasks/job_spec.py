"""The public JSON documents of a job: its specification, which producers write, and its status. They contain no
secrets."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from tasks.address_fields import Folders, Source, Webhook
from worker import settings
from worker.audio.audio_tracks import TrackSelection, parse_track
from worker.audio.channel_selection import Channels, check_names, check_selection, parse_channels, parse_names
from worker.errors import BadJob, JobNewer, SourceRefused
from worker.ledger.records import JobRecord, JobState, Waiting, WaitsFor
from worker.session_options import Options
from worker.settings import parse_speed, show_speed
from worker.storage.address import Address, show
from worker.storage.forbidden_characters import control_characters
from worker.text_escaping import printable
from worker.transcript.glossary import Terms
from worker.transcript.model import Quality
from worker.transcript.subtitles.style import Style
from worker.validation_errors import describe_errors, dotted

FORMATS = ("json", "srt", "vtt", "txt", "html", "ass", "tsv", "ctm", "textgrid")
Speed = Annotated[settings.Speed, BeforeValidator(parse_speed), PlainSerializer(show_speed, return_type=str)]
JobId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]


class JobSpec(BaseModel):
    """A source to transcribe and the options for it. Unknown fields are refused, so that a misspelled option is not
    silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Path of the audio file on the worker's disk, or an address: s3://, gs://, az://, https:// or http://.
    source: Source
    # Where the transcript files are written: a folder, an address in an object store, or several of these. Default: no
    # files, the transcript is only stored in Redis.
    out_dir: Folders = None
    # Name of the transcript files below out_dir, without the ending; may contain folders. Default: the name of the
    # source without its ending.
    out_name: str | None = Field(default=None, min_length=1, max_length=1024)
    # Formats of the files to write to out_dir.
    formats: Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(max_length=32)] = ("json",)
    # Layout of subtitle files: {"preset", "script", "audio_events", "word_cues", "bom"}. Not part of the job's id.
    style: Style = Style()
    # Pace of the session: a factor of real time, or `max`. Default: the worker's setting.
    speed: Speed | None = None
    # Number of sections of the file that are streamed at the same time. Default: as many as the worker's settings
    # allow.
    sessions: int | None = Field(default=None, ge=1, le=2000)
    # Whether to skip audio without speech. Default: the worker's setting.
    skip_silence: bool | None = None
    # Channels: `mix` mixes all into one, `split` streams each separately, N streams only channel N, counted from 1.
    channels: Annotated[Channels, BeforeValidator(parse_channels)] = "mix"
    # Names of the channels, in order: ["agent", "customer"]. A channel without a name is called by its number.
    channel_names: Annotated[tuple[str, ...], BeforeValidator(parse_names)] = ()
    # Audio track of a container: a number from 1, or `all`, which treats each track as a channel. Default: the track
    # that the container marks as its default.
    track: Annotated[TrackSelection, BeforeValidator(parse_track)] = None
    # Language to write into the transcript if the service names none.
    language: str | None = Field(default=None, max_length=35)
    # Corrections of the recognized text: pairs of a heard and a wanted term, [["Jon Smith", "John Smith"]]. At most
    # 1,000 pairs and 20,000 characters.
    glossary: Terms = ()
    # Options to add to the start of each session, a JSON object: {"language_code": "yue"}. They replace those of
    # STT_SESSION_OPTIONS with the same name; null removes one.
    session_options: Options = {}
    # Jobs of a higher priority run first. Within one priority the batches run in rotation.
    priority: Literal["high", "normal", "low"] = "normal"
    # Seconds for which the finished job stays in Redis, instead of STT_RESULT_TTL. Its events then contain no text.
    retain_s: float | None = Field(default=None, gt=0, le=31_536_000, allow_inf_nan=False)
    # The batch this job belongs to.
    batch: str | None = Field(default=None, min_length=1, max_length=200)
    # Web address that is notified when the job has ended; signed, see the guide for services, Webhooks.
    webhook: Webhook = None

    @field_validator("formats")
    @classmethod
    def _known(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in formats if name not in FORMATS]
        if unknown or not formats:
            raise ValueError(f"must be some of {', '.join(FORMATS)}, not {', '.join(unknown) or 'empty'}")
        return tuple(dict.fromkeys(formats))

    @model_serializer(mode="wrap")
    def _as_known(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit newer options that have their default values. Older workers do not have these options, and could not run
        the job if it contained them."""
        fields: dict[str, Any] = write(self)
        unused: dict[str, Any] = {
            "channels": "mix",
            "channel_names": (),
            "track": None,
            "glossary": (),
            "session_options": {},
            "retain_s": None,
        }
        return {name: value for name, value in fields.items() if name not in unused or value not in (unused[name], [])}

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_names(self.channels, self.channel_names, self.track)
        check_selection(self.channels, self.track)
        return self

    @field_validator("out_name")
    @classmethod
    def _inside(cls, name: str | None) -> str | None:
        path = PurePosixPath(name or "x")
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError("must be a path inside out_dir")
        _check_characters(name or "")
        return name

    @field_validator("source")
    @classmethod
    def _source(cls, source: Address) -> Address:
        _check_characters(source.text, quoted=source.is_web)
        return source

    @field_validator("webhook")
    @classmethod
    def _webhook(cls, url: Address | None) -> Address | None:
        if url is not None and not url.is_web:
            raise ValueError("must be an https:// or http:// address")
        return url

    @field_validator("out_dir")
    @classmethod
    def _folders(cls, out_dir: Address | tuple[Address, ...] | None) -> Address | tuple[Address, ...] | None:
        for folder in _each(out_dir):
            if folder.is_web:
                raise ValueError("must be a folder, or begin with s3://, gs:// or az://")
            _check_characters(folder.text)
        return out_dir

    @property
    def output_name(self) -> str:
        return self.out_name or self.source.stem

    @property
    def out_dirs(self) -> tuple[Address, ...]:
        """All folders and addresses to which the files are written."""
        return _each(self.out_dir)

    def outputs(self) -> tuple[Address, ...]:
        """Return the addresses of the files that the job writes. For each folder, the files are in the order of
        `formats`."""
        return tuple(folder.below(f"{self.output_name}.{fmt}") for folder in self.out_dirs for fmt in self.formats)


def _each(out_dir: Address | tuple[Address, ...] | None) -> tuple[Address, ...]:
    return (out_dir,) if isinstance(out_dir, Address) else out_dir or ()


def _check_characters(name: str, *, quoted: bool = False) -> None:
    if (reason := control_characters(name, quoted=quoted)) is not None:
        raise ValueError(reason)


def job_id(spec: JobSpec, content: str, *, scope: str = "") -> str:
    """Compute the id of a job: two jobs with the same content and the same requested results have the same id.

    `content` comes from `worker.storage.sources.wildcards.content_of`. The location of the audio and the speed of
    streaming do not change the result, so they are not part of the id. `scope` separates jobs that must differ for
    another reason, such as another service.
    """
    wanted = {"out_dir", "out_name", "formats", "language"}
    # Include options that were added later only if they are used, so that the ids of older jobs do not change.
    if spec.channels != "mix":
        wanted |= {"channels", "channel_names"}
    if spec.track is not None:
        wanted |= {"track", "channel_names"}
    if spec.glossary:
        wanted.add("glossary")
    if spec.session_options:
        wanted.add("session_options")
    options = spec.model_dump_json(include=wanted)
    return hashlib.sha256(f"{content}\n{scope}\n{options}".encode()).hexdigest()[:24]


def recorded(text: str) -> JobSpec:
    """Parse a job that the ledger stores. Raises JobNewer if the job has unknown fields: the producer has validated the
    job, so such fields belong to a newer version. Raises SourceRefused for a name with control characters."""
    try:
        return JobSpec.model_validate_json(text)
    except ValidationError as exc:
        fields = _fields(text)
        for name in ("source", "out_name"):  # older versions accepted names with control characters
            if isinstance(fields.get(name), str) and (reason := control_characters(fields[name])) is not None:
                raise SourceRefused(f"{printable(fields[name])}: {name} {reason}") from None
        unknown = ", ".join(dict.fromkeys(dotted(e["loc"], "its form") for e in exc.errors()))
        raise JobNewer(
            f"this version does not know fields of the job ({unknown}): a newer version queued it, and it needs a "
            "worker of that version"
        ) from None


def source_of(record: JobRecord) -> str:
    """Return the job's source for display, even if this version cannot parse the rest of the job. Empty if the record
    contains no job."""
    return show(str(_fields(record.spec).get("source", "")))


def _fields(text: str | None) -> dict[str, Any]:
    """Return the fields of a recorded job without validation; empty if the record is not a JSON object."""
    try:
        fields = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


_JOB_ID: Final = TypeAdapter(JobId)


def checked_key(key: str, field: str = "idempotency_key") -> str:
    """Validate an idempotency key, which becomes the job's id. `field`: the name under which the producer gave the key,
    for the message. Raises BadJob."""
    try:
        return _JOB_ID.validate_python(key)
    except ValidationError:
        raise BadJob(f"{field} {key!r}: must be 1 to 128 letters, digits or . _ -") from None


def problems(error: ValidationError) -> str:
    """Format all invalid fields with their reasons, on one line."""
    return describe_errors(error, lambda location: dotted(location, "job"))


class JobStatus(BaseModel):
    """The current state of one job. Times (`*_at`) are seconds since 1970; `*_s` are seconds of the audio file."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: JobState
    source: str
    batch: str | None
    attempts: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    duration_s: float
    sent_s: float
    committed_s: float
    commits: int
    partial: str
    # Current streaming speed as a factor of real time, or `max`.
    speed: str
    # Why the last session ended early; empty if no session ended early.
    trouble: str
    outputs: tuple[str, ...]
    # Defects of the audio, such as a file that is cut off or damaged.
    warnings: tuple[str, ...]
    # Quality of the transcript; null before the end of the job.
    quality: Quality | None
    error_code: str | None
    error: str | None
    # Whether `stt-batch pause` has paused the job.
    paused: bool
    # The reason why a job that has not ended waits: `worker`, `slot`, `retry`, `pause`, `key` or `newer_version`; null
    # while a worker processes it.
    waits_for: WaitsFor | None = None
    # The same as a text.
    waits_text: str | None = None

    @classmethod
    def of(cls, record: JobRecord, waiting: Waiting | None = None) -> Self:
        return cls(
            id=record.id,
            state=record.state,
            source=source_of(record),
            batch=record.batch,
            attempts=record.attempts,
            created_at=record.created_at,
            started_at=record.started_at,
            ended_at=record.ended_at,
            duration_s=record.progress.duration_s,
            sent_s=record.progress.sent_s,
            committed_s=record.progress.committed_s,
            commits=record.commits,
            partial=record.progress.partial,
            speed=show_speed(record.progress.speed),
            trouble=record.progress.trouble,
            outputs=record.outputs,
            warnings=record.warnings,
            quality=record.quality,
            error_code=record.error_code,
            error=record.error,
            paused=record.paused,
            waits_for=waiting and waiting.reason,
            waits_text=waiting and waiting.text,
        )


class BatchStatus(BaseModel):
    """The current state of a batch. `counts`: number of jobs in each state that occurs. `total`: number of all jobs. It
    includes expired jobs, which are not in `counts`."""

    model_config = ConfigDict(frozen=True)

    id: str
    total: int
    counts: dict[JobState, int]
    jobs: tuple[JobStatus, ...]

    @classmethod
    def of(
        cls,
        batch_id: str,
        records: Sequence[JobRecord | None],
        waiting: Callable[[JobRecord], Waiting | None] = lambda _: None,
    ) -> Self:
        """`waiting`: returns the reason why a job waits."""
        jobs = tuple(JobStatus.of(record, waiting(record)) for record in records if record is not None)
        return cls(id=batch_id, total=len(records), counts=dict(Counter(job.state for job in jobs)), jobs=jobs)

    @property
    def ended(self) -> bool:
        return all(job.state.ended for job in self.jobs)


__all__ = [
    "FORMATS",
    "BatchStatus",
    "JobId",
    "JobSpec",
    "JobState",
    "JobStatus",
    "checked_key",
    "job_id",
    "problems",
    "recorded",
    "source_of",
]
