"""Validates and rebuilds Celery messages of any producer before kombu and Celery read them. No I/O.

kombu 5.7 and Celery 5.7 assume that a message has the right fields and types. A field of the wrong type raises
TypeError, AttributeError or KeyError inside the worker's event loop. Then the worker ends, or it reconnects and
receives the message again. So no raw message reaches kombu and Celery: this module parses the message, and builds a new
message from the valid values. Protocol 2 and protocol 1 (celery-node, gocelery) are accepted.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from tasks.client.celery_message import TRANSCRIBE_TASK
from tasks.job_spec import JobId, JobSpec, problems

MAX_MESSAGE_BYTES: Final = 262_144
MAX_DEPTH: Final = 32
"""Maximum levels of lists and objects in a message, and in its body."""
MAX_TEXT: Final = 255
"""Maximum characters of an id or a name."""
MAX_STAMPS: Final = 16
MAX_ETA_H: Final = 12
"""Maximum hours until the eta of a message, which a worker stores in memory until then. Equal to the visibility timeout
of the broker, after which the message would be delivered a second time."""
ENCODINGS: Final = frozenset({"utf-8", "utf8", "ascii", "us-ascii", "binary"})
DEFLATE: Final = frozenset({"gzip", "zlib", "application/x-gzip", "application/gzip"})
"""Names that Celery's producers use for compression with zlib."""
_FOLLOWING: Final = {"callbacks": "link", "errbacks": "link_error", "chain": "a chain", "chord": "a chord"}
"""Parts of a message that name tasks to call after this one, and Celery's words for them."""
_JOB_ID: Final = TypeAdapter(JobId)


class MessageRefused(Exception):
    """Raised for a message that is not valid. The text of the exception is the reason. `job`: id of the job in the
    message, or empty if it cannot be read."""

    def __init__(self, reason: str, job: str = "") -> None:
        super().__init__(reason)
        self.job = job


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The arguments of the task `tasks.transcribe`: the id of a job in the ledger, a complete job, or both."""

    job_id: str | None
    job: dict[str, Any] | None


def rebuilt(raw: bytes, queue: str) -> bytes:
    """Return a new message for Celery with the valid content of `raw`, which came from `queue`. Raises
    MessageRefused."""
    if len(raw) > MAX_MESSAGE_BYTES:
        raise MessageRefused(f"has {len(raw)} bytes, more than {MAX_MESSAGE_BYTES}")
    message = _object("the message", _json(raw, "the message"))
    headers = _object("headers", message.get("headers") or {})
    properties = _object("properties", message.get("properties", {}))
    body = _body(message, headers, properties)
    if "task" not in headers:  # in protocol 1 the body contains the headers
        headers = {**_object("the body", body), **headers}
    args, kwargs, embed = _call(body)
    request = job_request(args, kwargs)
    # Events of Celery and Flower show these texts. The fields of a job may contain signed addresses.
    shown = {"job_id": request.job_id} if request.job_id else {"job": "..."}
    made_headers = {**_headers(headers), "argsrepr": "()", "kwargsrepr": repr(shown)}
    arguments = {name: value for name, value in (("job_id", request.job_id), ("job", request.job)) if value is not None}
    _check_embed(embed)
    text = json.dumps([[], arguments, dict.fromkeys(_FOLLOWING)], separators=(",", ":"))
    made = {
        "body": base64.b64encode(text.encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": made_headers,
        "properties": _properties(properties, queue),
    }
    return json.dumps(made, separators=(",", ":")).encode()


def job_request(args: Sequence[Any], kwargs: Mapping[str, Any]) -> JobRequest:
    """Read the job from the arguments of the task. The arguments are `("id")`, `({job})` or `("id", {job})`, or the
    keywords `job_id` and `job`. Raises MessageRefused."""
    named = dict(zip(("job_id", "job"), args, strict=False))
    unknown = [name for name in kwargs if name not in ("job_id", "job")]
    twice = [name for name in kwargs if name in named]
    if len(args) > 2 or unknown or twice:
        wrong = f"{len(args)} arguments" if len(args) > 2 else _shown((unknown or twice)[0])
        raise MessageRefused(f"{TRANSCRIBE_TASK} takes job_id and job, not {wrong}")
    named |= kwargs
    job_id, job = named.get("job_id"), named.get("job")
    if isinstance(job_id, dict) and job is None:  # task.delay({"source": …})
        job_id, job = None, job_id
    if job_id is None and job is None:
        raise MessageRefused("names no job: neither job_id nor job is given")
    if job_id is not None:
        try:
            job_id = _JOB_ID.validate_python(job_id, strict=True)
        except ValidationError:
            reason = f"job_id {_shown(job_id)}: must be a text of 1 to 128 letters, digits or . _ -"
            raise MessageRefused(reason, job_id if isinstance(job_id, str) else "") from None
    if job is not None:
        try:
            JobSpec.model_validate(_object("job", job))
        except ValidationError as exc:
            raise MessageRefused(f"job: {problems(exc)}", job_id or "") from None
    return JobRequest(job_id, job)


# -- the parts of a message ------------------------------------------------------------------------------------------


def _body(message: Mapping[str, Any], headers: Mapping[str, Any], properties: Mapping[str, Any]) -> Any:
    content_type, encoding = message.get("content-type"), message.get("content-encoding")
    if content_type != "application/json":
        raise MessageRefused(f"content-type {_shown(content_type)}: must be application/json")
    if encoding is not None and not (isinstance(encoding, str) and encoding.lower() in ENCODINGS):
        raise MessageRefused(f"content-encoding {_shown(encoding)}: must be utf-8")
    body, wrapped = message.get("body"), properties.get("body_encoding")
    if not isinstance(body, str):
        raise MessageRefused(f"body: must be a text, not {_kind(body)}")
    data = body.encode("utf-8", "surrogatepass")
    if wrapped is not None and not (isinstance(wrapped, str) and wrapped.lower() in ("base64", "utf-8")):
        raise MessageRefused(f"properties.body_encoding {_shown(wrapped)}: must be base64 or utf-8")
    if wrapped is not None and wrapped.lower() == "base64":
        try:
            data = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise MessageRefused(f"body: is not base64: {exc}") from None
    return _json(_decompressed(data, headers.get("compression")), "the body")


def _decompressed(data: bytes, method: object) -> bytes:
    """Decompress `data`, up to MAX_MESSAGE_BYTES, so that a small message cannot fill the memory. Raises
    MessageRefused."""
    if method is None:
        return data
    if not isinstance(method, str) or method.lower() not in DEFLATE:
        raise MessageRefused(f"headers.compression {_shown(method)}: only gzip is read; send it without compression")
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # accepts the header of zlib and that of gzip
    try:
        text = unpack.decompress(data, MAX_MESSAGE_BYTES + 1)
    except zlib.error as exc:
        raise MessageRefused(f"body: cannot be decompressed: {exc}") from None
    if len(text) > MAX_MESSAGE_BYTES:
        raise MessageRefused(f"body: decompresses to more than {MAX_MESSAGE_BYTES} bytes")
    if not unpack.eof:
        raise MessageRefused("body: the compressed data is cut off")
    return text


def _call(body: Any) -> tuple[list[Any], dict[str, Any], Any]:
    """Return the positional arguments, the keyword arguments and `embed` (the tasks to call afterwards) of a Celery
    message of protocol 1 or 2."""
    if isinstance(body, dict):
        args, kwargs = body.get("args") or [], body.get("kwargs") or {}
        embed: Any = {name: body.get(name) for name in ("callbacks", "errbacks", "chord")}
    elif isinstance(body, list) and len(body) == 3:
        args, kwargs, embed = body
    else:
        shape = f"a list of {len(body)}" if isinstance(body, list) else _kind(body)
        raise MessageRefused(f"the body must be [args, kwargs, embed], not {shape}")
    return _list("args", args), _object("kwargs", kwargs), embed


def _check_embed(embed: Any) -> None:
    """Check that no task follows this one. A message only wakes a worker, which takes the first job in line, so Celery
    would call the following tasks at the end of another job. Raises MessageRefused."""
    found = _object("embed", embed if embed is not None else {})
    for name, sender in _FOLLOWING.items():
        if found.get(name):
            raise MessageRefused(
                f"embed.{name}: {sender} is not supported, because a message only wakes a worker; send it without, and"
                " use the webhook of the job, the stream stt:events, or a handle of tasks.submit"
            )


def eta_of(message: bytes) -> float:
    """Return the earliest start of the task in a message from `rebuilt`, in seconds since 1970; 0 if it may start at
    once."""
    eta = json.loads(message)["headers"].get("eta")
    return datetime.fromisoformat(eta).timestamp() if eta else 0.0


def _headers(found: Mapping[str, Any]) -> dict[str, Any]:
    task = found.get("task")
    if task != TRANSCRIBE_TASK:
        raise MessageRefused(f"task {_shown(task)}: is unknown; the workers have {TRANSCRIBE_TASK}")
    limits = found.get("timelimit")
    if limits is not None and _list("headers.timelimit", limits) != [None, None]:
        reason = (
            "time limits are not supported, because a message only wakes a worker; omit time_limit and soft_time_limit"
            " (`stt-batch cancel` or the cancel of a handle stops a job)"
        )
        raise MessageRefused(f"headers.timelimit {_shown(limits)}: {reason}")
    made: dict[str, Any] = {"lang": "py", "task": TRANSCRIBE_TASK, "id": _text("headers.id", found.get("id"))}
    for name, read in _HEADERS.items():
        if found.get(name) is not None:
            made[name] = read(f"headers.{name}", found[name])
    if "eta" in made:
        ahead = datetime.fromisoformat(made["eta"]) - datetime.now(UTC)
        if ahead > timedelta(hours=MAX_ETA_H):
            raise MessageRefused(f"headers.eta {made['eta']}: is more than {MAX_ETA_H} h ahead")
        if ahead <= timedelta(0):
            del made["eta"]
    return {**made, **_stamps(found)}


def _stamps(found: Mapping[str, Any]) -> dict[str, Any]:
    """Validate Celery's stamps: labels of a task, by which a client can revoke several tasks together."""
    names = _list("headers.stamped_headers", found.get("stamped_headers") or [])
    stamps = _object("headers.stamps", found.get("stamps") or {})
    made = {name: stamps.get(_text("headers.stamped_headers", name)) for name in names[:MAX_STAMPS]}
    for name, values in made.items():
        for value in values if isinstance(values, list) else [values]:
            if value is not None and not isinstance(value, (str, int, float)):
                raise MessageRefused(f"headers.stamps.{name}: must be texts or numbers, not {_kind(value)}")
    return {"stamped_headers": list(made), "stamps": made} if made else {}


def _properties(found: Mapping[str, Any], queue: str) -> dict[str, Any]:
    tag, info = found.get("delivery_tag"), found.get("delivery_info")
    if tag is not None:
        _text("properties.delivery_tag", tag)
    if info is not None:
        _object("properties.delivery_info", info)
    priority = found.get("priority")
    made: dict[str, Any] = {
        # Always a new tag. kombu stores unacknowledged messages by tag, so a tag that a producer repeats would replace
        # another message.
        "delivery_tag": str(uuid4()),
        # kombu returns an unacknowledged message to this queue.
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0 if priority is None else min(9, max(0, _number("properties.priority", priority))),
        "body_encoding": "base64",
        "delivery_mode": 2,
    }
    for name in ("correlation_id", "reply_to"):
        if found.get(name) is not None:
            made[name] = _text(f"properties.{name}", found[name])
    return made


# -- values ----------------------------------------------------------------------------------------------------------


def _json(data: bytes, where: str) -> Any:
    try:
        value = json.loads(data.decode(), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise MessageRefused(f"{where} is not UTF-8") from None
    except RecursionError:
        raise MessageRefused(f"{where} is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as exc:
        raise MessageRefused(f"{where} is not JSON: {str(exc)[:200]}") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise MessageRefused(f"{where} is nested more than {MAX_DEPTH} levels deep")
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        level = inner
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MessageRefused(f"{where}: must be an object, not {_kind(value)}")
    return value


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise MessageRefused(f"{where}: must be a list, not {_kind(value)}")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise MessageRefused(f"{where}: must be a text, not {_kind(value)}")
    if not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        raise MessageRefused(f"{where}: must have 1 to {MAX_TEXT} printable characters")
    return value


def _number(where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**31:
        raise MessageRefused(f"{where}: must be a whole number, not {_shown(value)}")
    return value


def _truth(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise MessageRefused(f"{where}: must be true or false, not {_shown(value)}")
    return value


def _time(where: str, value: Any) -> str:
    """Return the ISO time `value` in UTC. A time without a time zone is treated as UTC. Raises MessageRefused."""
    try:
        found = datetime.fromisoformat(_text(where, value))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise MessageRefused(f"{where} {_shown(value)}: must be a time such as 2026-01-31T12:00:00+00:00") from None


# Optional headers and their parsers. All other headers are dropped, because Celery would treat them as its own
# attributes.
_HEADERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(("root_id", "parent_id", "group", "origin"), _text),
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting"), _number),
    **dict.fromkeys(("ignore_result", "redelivered"), _truth),
    **dict.fromkeys(("eta", "expires"), _time),
}
_KINDS: Final = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a number")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else f"{text[:80]}…"


__all__ = ["MAX_MESSAGE_BYTES", "JobRequest", "MessageRefused", "eta_of", "job_request", "rebuilt"]
