"""Every error the product raises on purpose, as one tree.

::

    SttError
    ├── SettingsError              a setting is missing or wrong; the process does not start
    ├── BadJob                     the options of a job make no sense; nothing was queued
    ├── StackError                 a process of the embedded stack (`stt-batch run`) did not start, or ended
    ├── SourceError                the audio cannot be used; names the file and the way out
    │   ├── SourceNotFound
    │   ├── SourceRefused          no permission, or the settings of this worker do not allow it
    │   ├── SourceChanged          its content differs from that at the start of the job
    │   ├── SourceUnavailable      (retryable) its server fails or does not answer, or there is no room for it now
    │   │   └── SourceReplaced     its server has another version since the download began
    │   ├── UnsupportedSource      a format that cannot be opened here
    │   ├── DamagedSource          opened, but broken or empty
    │   ├── NoSuchChannel          it has fewer channels than the one asked for
    │   └── NoSuchTrack            it has fewer audio tracks than the one asked for
    ├── EndpointError              the real-time service
    │   ├── AuthRefused            the key is refused: nothing to retry
    │   ├── RequestRefused         the service refuses what was sent: nothing to retry
    │   ├── EndpointMoved          it redirects permanently; the key is not sent elsewhere, so no retry
    │   ├── EndpointUnavailable    (retryable) no connection, HTTP 5xx, or the connection broke
    │   ├── EndpointBusy           (retryable) rate limit, queue overflow, no free session
    │   ├── SessionLost            (retryable) the session ended before everything was committed
    │   └── SessionStalled         (retryable) no sign of life within the bound
    ├── RecognizerError            the self-hosted recognizer
    │   ├── ModelUnavailable       not installed or not found
    │   ├── ModelCorrupt           the file's sha256 is not the expected one
    │   └── LanguageUnsupported
    ├── StorageError
    │   ├── LedgerUnavailable      (retryable) Redis does not answer
    │   │   ├── LedgerNewer        it answers, with data that only a newer version can read
    │   │   └── LedgerRefused      it permanently refuses a command (wrong type of key, no permission)
    │   ├── JobNewer               (retryable) one job asks for what only a newer version knows: it is left to others
    │   ├── QueueFull              (retryable) too many jobs wait already; this one was not queued
    │   ├── LeaseLost              another worker owns the job now; stop and write nothing
    │   └── OutputError            a transcript could not be written; it stays in the ledger
    │       └── OutputUnavailable  (retryable) the disk is full, or the object store does not answer
    ├── WorkerShortage             (retryable) this machine lacks descriptors, memory, threads, disk; or a mount fails
    └── JobCancelled               a person or a service asked for it

`retryable` says whether the same job may succeed when it is tried again without a change by a person.
`code` is the stable name that records and JSON output carry.
"""

from __future__ import annotations

from typing import ClassVar


class SttError(Exception):
    """Base of all deliberate errors. The message is for a person: what, which file or address, what to do."""

    retryable: ClassVar[bool] = False
    code: ClassVar[str] = "error"


class SettingsError(SttError):
    code = "settings"


class BadJob(SttError):
    code = "bad_job"


class StackError(SttError):
    code = "stack"


class SourceError(SttError):
    code = "source"


class SourceNotFound(SourceError):
    code = "source_not_found"


class SourceRefused(SourceError):
    code = "source_refused"


class SourceUnavailable(SourceError):
    retryable = True
    code = "source_unavailable"


class SourceReplaced(SourceUnavailable):
    code = "source_replaced"


class SourceChanged(SourceError):
    code = "source_changed"


class UnsupportedSource(SourceError):
    code = "source_unsupported"


class DamagedSource(SourceError):
    code = "source_damaged"


class NoSuchChannel(SourceError):
    code = "source_channel"


class NoSuchTrack(SourceError):
    code = "source_track"


class EndpointError(SttError):
    code = "endpoint"


class AuthRefused(EndpointError):
    code = "auth_refused"


class RequestRefused(EndpointError):
    code = "request_refused"


class EndpointMoved(EndpointError):
    code = "endpoint_moved"


class EndpointUnavailable(EndpointError):
    retryable = True
    code = "endpoint_unavailable"


class EndpointBusy(EndpointError):
    retryable = True
    code = "endpoint_busy"


class SessionLost(EndpointError):
    retryable = True
    code = "session_lost"


class SessionStalled(EndpointError):
    retryable = True
    code = "session_stalled"


class RecognizerError(SttError):
    code = "recognizer"


class ModelUnavailable(RecognizerError):
    code = "model_unavailable"


class ModelCorrupt(RecognizerError):
    code = "model_corrupt"


class LanguageUnsupported(RecognizerError):
    code = "language_unsupported"


class StorageError(SttError):
    code = "storage"


class LedgerUnavailable(StorageError):
    retryable = True
    code = "ledger_unavailable"


class LedgerNewer(LedgerUnavailable):
    code = "ledger_newer"


class LedgerRefused(LedgerUnavailable):
    retryable = False
    code = "ledger_refused"


class JobNewer(StorageError):
    retryable = True
    code = "job_newer"


class QueueFull(StorageError):
    retryable = True
    code = "queue_full"


class LeaseLost(StorageError):
    code = "lease_lost"


class OutputError(StorageError):
    code = "output"


class OutputUnavailable(OutputError):
    retryable = True
    code = "output_unavailable"


class WorkerShortage(SttError):
    """See `worker.transient_os_errors`. It is never the fault of the job, so the attempt is not counted."""

    retryable = True
    code = "worker_shortage"


class JobCancelled(SttError):
    code = "cancelled"
