"""All errors that the program raises on purpose, as one tree of classes.

::

    SttError
    ├── SettingsError              a setting is missing or wrong; the process does not start
    ├── BadJob                     the options of a job are invalid; it was not queued
    ├── BadRevision                corrections of a transcript are invalid; nothing was changed
    │   └── RevisionConflict       another person has corrected the same transcript in the meantime
    ├── StackError                 a process of the embedded stack (`stt-batch run`) did not start, or ended early
    ├── SourceError                the audio cannot be used; names the file and the remedy
    │   ├── SourceNotFound
    │   ├── SourceRefused          no permission, or the settings of this worker forbid it
    │   ├── SourceChanged          its content differs from that at the start of the job
    │   ├── SourceUnavailable      (retryable) its server fails or does not answer, or the local disk is full now
    │   │   └── SourceReplaced     (retryable) the file changed on its server during the download
    │   ├── UnsupportedSource      a format that this installation cannot decode
    │   ├── DamagedSource          the file can be opened, but it is broken or empty
    │   ├── NoSuchChannel          the source does not have the requested channel
    │   └── NoSuchTrack            the source does not have the requested audio track
    ├── EndpointError              the real-time service
    │   ├── AccessRefused          the service accepts no session with this key; a user must change something
    │   │   ├── AuthRefused        the key is refused
    │   │   ├── PermissionRefused  the key lacks a permission
    │   │   ├── AccountRefused     the account has no credit, no plan, or is suspended
    │   │   └── KeyPaused          another job met one of these refusals; jobs wait until a probe succeeds
    │   ├── RequestRefused         the service refuses the audio or an option of the session; a retry cannot help
    │   ├── ProtocolRefused        the service does not accept the form of the handshake (HTTP 400)
    │   ├── EndpointMoved          the service redirects permanently; the key is not sent to another host
    │   ├── EndpointUnavailable    (retryable) no connection, HTTP 5xx, or the connection was lost
    │   ├── EndpointBusy           (retryable) rate limit, queue overflow, no free session
    │   ├── SessionLost            (retryable) the session ended before everything was committed
    │   └── SessionStalled         (retryable) no answer within STT_STALL_TIMEOUT_S
    ├── RecognizerError            the self-hosted recognizer
    │   ├── ModelUnavailable       the model or its engine is not installed or not found
    │   ├── ModelCorrupt           the sha256 of a model file is not the expected one
    │   └── LanguageUnsupported
    ├── StorageError
    │   ├── LedgerUnavailable      (retryable) Redis does not answer
    │   │   ├── LedgerNewer        (retryable) only a newer version of this program can read the data in Redis
    │   │   └── LedgerRefused      Redis permanently refuses a command (wrong type of key, no permission)
    │   ├── JobNewer               (retryable) a job needs a newer version of this program; other workers may run it
    │   ├── QueueFull              (retryable) too many jobs wait; this one was not queued
    │   ├── LeaseLost              another worker owns the job now; this worker must stop without a write
    │   └── OutputError            a transcript could not be written; it remains in the ledger
    │       └── OutputUnavailable  (retryable) the disk is full, or the object store does not answer
    ├── WorkerShortage             (retryable) lack of descriptors, memory, threads or disk space on this machine
    └── JobCancelled               a user or a program cancelled the job

`retryable`: whether the same job may succeed later without a change by a user.
`code`: the stable name of the error in records and JSON output.
"""

from __future__ import annotations

from typing import ClassVar, Self


class SttError(Exception):
    """Base class of all errors of this module. The message names the failure, the file or address, and the remedy."""

    retryable: ClassVar[bool] = False
    code: ClassVar[str] = "error"


class SettingsError(SttError):
    code = "settings"


class BadJob(SttError):
    code = "bad_job"


class BadRevision(SttError):
    code = "bad_revision"


class RevisionConflict(BadRevision):
    code = "revision_conflict"


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
    retry_after_s: float | None = None
    """Seconds after which the service accepts requests again, as its response states; else None."""
    may_be_transient: bool = False
    """Whether the same refusal can come from an intermediary, so that it is retried if the service has accepted the key
    before."""

    def with_text(self, text: str) -> Self:
        """Return the same error with another message."""
        error = type(self)(text)
        error.retry_after_s, error.may_be_transient = self.retry_after_s, self.may_be_transient
        return error


class AccessRefused(EndpointError):
    code = "access_refused"
    reported: bool = False
    """Whether the circuit breaker of the key knows this refusal."""


class AuthRefused(AccessRefused):
    code = "auth_refused"


class PermissionRefused(AccessRefused):
    code = "permission_refused"


class AccountRefused(AccessRefused):
    code = "account_refused"


class KeyPaused(AccessRefused):
    code = "key_paused"


class RequestRefused(EndpointError):
    code = "request_refused"


class ProtocolRefused(EndpointError):
    code = "protocol_refused"


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
    """A lack of resources on this machine, see `worker.transient_os_errors`. The attempt of the job is not counted."""

    retryable = True
    code = "worker_shortage"


class JobCancelled(SttError):
    code = "cancelled"
