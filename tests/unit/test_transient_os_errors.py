"""Shortages of the worker are found in wrapped errors, and not confused with errors of peers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import aiohttp
import pytest
import soundfile

from worker.errors import (
    BadJob,
    DamagedSource,
    EndpointUnavailable,
    OutputUnavailable,
    SourceNotFound,
    SourceUnavailable,
    SttError,
    WorkerShortage,
)
from worker.transient_os_errors import shortage_of, source_error

RESOURCES = [errno.EMFILE, errno.ENFILE, errno.ENOMEM]
MOUNTS = [errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.ENOSPC, errno.EDQUOT]


def os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def caught(raising: Callable[[], None]) -> Exception:
    try:
        raising()
    except Exception as exc:  # noqa: BLE001
        return exc
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("code", [*RESOURCES, *MOUNTS])
def test_a_bare_error_of_the_system_is_a_shortage(code: int) -> None:
    found = shortage_of(os_error(code))
    assert found is not None
    assert found.retryable
    assert "; " in str(found), "with the remedy"


@pytest.mark.parametrize(
    "exc",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        RuntimeError("soxr: malloc failed"),
        soundfile.LibsndfileError(2),
        ExceptionGroup("sections", [ValueError(), os_error(errno.EMFILE)]),
    ],
)
def test_shortages_wrapped_by_libraries_are_found(exc: Exception) -> None:
    if isinstance(exc, soundfile.LibsndfileError):
        exc = type("LibsndfileError", (soundfile.SoundFileRuntimeError,), {})("System error : Too many open files.")
    assert shortage_of(exc) is not None


@pytest.mark.parametrize("code", RESOURCES)
@pytest.mark.parametrize("kind", [EndpointUnavailable, SourceUnavailable, OutputUnavailable])
def test_shortages_are_found_behind_errors_about_peers(code: int, kind: type[SttError]) -> None:
    def connect() -> None:
        try:
            try:
                raise os_error(code)
            except OSError as exc:
                raise aiohttp.ClientConnectorError(None, exc) from exc  # type: ignore[arg-type]
        except aiohttp.ClientError:
            raise kind("cannot connect") from None

    found = shortage_of(caught(connect))
    assert isinstance(found, WorkerShortage)


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ENOSPC])
def test_an_unreachable_service_is_no_shortage(code: int) -> None:
    def connect() -> None:
        raise EndpointUnavailable("cannot connect") from os_error(code)

    assert shortage_of(caught(connect)) is None


@pytest.mark.parametrize("kind", [DamagedSource, BadJob, SourceNotFound])
def test_a_fault_of_the_input_is_no_shortage(kind: type[SttError]) -> None:
    """FFmpeg reports a broken file as an input/output error."""

    def decode() -> None:
        raise kind("broken") from os_error(errno.EIO)

    assert shortage_of(caught(decode)) is None
    assert shortage_of(ValueError("Too few values")) is None


def test_the_error_number_decides_the_error_of_a_source() -> None:
    assert isinstance(source_error(os_error(errno.ENOENT), "a.wav"), SourceNotFound)
    assert isinstance(source_error(os_error(errno.ESTALE), "a.wav"), WorkerShortage)
    denied = source_error(os_error(errno.EACCES), "a.wav")
    assert not denied.retryable
    assert str(denied) == "a.wav: cannot be read: Permission denied"
