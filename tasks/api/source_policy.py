"""Checks which sources and outputs a job over HTTP may name: only those in STT_HTTP_ALLOWED_SOURCES and
STT_HTTP_ALLOWED_OUTPUTS, and of these only what the settings of the workers allow as well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from tasks.address_fields import parse_source
from tasks.api.problems import Problem
from tasks.job_spec import JobSpec, problems
from worker.errors import BadJob, OutputError, SourceNotFound, SourceRefused
from worker.settings import Settings
from worker.storage.access_policy import check_output, check_source, check_webhook
from worker.storage.address import Address
from worker.storage.sources.identify import SourceIdentifier
from worker.storage.sources.local_file import open_local

_SOURCES: Final = "STT_HTTP_ALLOWED_SOURCES"


class SourcePolicy:
    """Checks jobs of HTTP clients. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # The same checks as for workers, with the lists of the API.
        self._http = settings.model_copy(
            update={"allowed_sources": settings.http_allowed_sources, "allowed_outputs": settings.http_allowed_outputs}
        )
        self._uploads = parse_source(settings.uploads) if settings.uploads else None
        self._identifier = SourceIdentifier(self._http, settings.intake_timeout_s)

    def spec_of(self, fields: Mapping[str, Any]) -> JobSpec:
        """Validate a job with a source by reference. Raises Problem 403 or 422."""
        # The source comes first: a client that may not name it learns nothing about the rest.
        source = fields.get("source")
        if isinstance(source, str) and source:
            try:
                self._check_source(parse_source(source))
            except (BadJob, ValueError) as exc:
                raise Problem(403, f"source: {exc}", code="source_refused") from None
        spec = validated(fields)
        self.check_rest(spec)
        return spec

    def check_rest(self, spec: JobSpec) -> None:
        """Check outputs and webhook of a job. Raises Problem 403 or 422."""
        for folder in spec.out_dirs:
            if folder.is_file and not folder.path.is_absolute():
                raise Problem(422, "out_dir: must be an absolute path, as the workers see it", code="bad_job")
            if not self._settings.http_allowed_outputs.strip():
                raise Problem(403, f"{folder}: jobs over HTTP write no files; see STT_HTTP_ALLOWED_OUTPUTS")
            self._check_lists(check_output, folder, "forbidden")
        if spec.webhook is not None:
            try:
                check_webhook(spec.webhook, self._settings)
            except BadJob as exc:
                raise Problem(403, str(exc), code="webhook_refused") from None

    async def check_file(self, source: Address) -> None:
        """Check a local file without reading it: no link in its path may lead outside of the allowed folders. A file
        that only workers can read passes. Raises SourceRefused."""
        if source.is_file:
            await asyncio.to_thread(self._open, source)

    async def content_of(self, source: Address, lane: str) -> tuple[str, str | None]:
        """Identify the content, see `SourceIdentifier.content_of`."""
        return await self._identifier.content_of(source, lane)

    def _open(self, source: Address) -> None:
        self._refuse_uploads(source, os.path.realpath(source.text))
        try:
            open_local(source, self._http).close()
        except SourceNotFound:
            return
        except SourceRefused as exc:
            raise Problem(403, _of_http(exc), code="source_refused") from None

    def _check_source(self, source: Address) -> None:
        if not self._settings.http_allowed_sources.strip():
            raise Problem(
                403, f"{source}: jobs over HTTP read only their uploads; see {_SOURCES}", code="source_refused"
            )
        if source.is_file and not source.path.is_absolute():
            raise SourceRefused(f"{source}: must be an absolute path, as the workers see it")
        self._refuse_uploads(source, os.path.normpath(source.text))
        self._check_lists(check_source, source, "source_refused")

    def _check_lists(self, check: Callable[[Address, Settings], object], address: Address, code: str) -> None:
        """Check an address against the lists of the API and of the workers. Raises Problem 403."""
        for settings in (self._http, self._settings):
            try:
                check(address, settings)
            except (OutputError, SourceRefused) as exc:
                reason = _of_http(exc) if settings is self._http else str(exc)
                raise Problem(403, reason, code=code) from None

    def _refuse_uploads(self, source: Address, path: str) -> None:
        """Refuse the uploads of others as a source: a job reads only its own one."""
        if self.is_upload(source, path):
            raise SourceRefused(f"{source}: is below STT_UPLOADS; send the file with the job")

    def is_upload(self, source: Address, path: str | None = None) -> bool:
        """Whether a source is below STT_UPLOADS. `path`: the normalized path of a file, if it is not that of
        `source`."""
        uploads = self._uploads
        if uploads is None or uploads.scheme != source.scheme:
            return False
        if uploads.is_file:
            path = os.path.normpath(source.text) if path is None else path
            folders = {os.path.normpath(uploads.path.absolute()), os.path.realpath(uploads.text)}
            return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
        prefix = uploads.key.rstrip("/")
        return source.bucket == uploads.bucket and (not prefix or f"{source.key}/".startswith(f"{prefix}/"))


def _of_http(error: Exception) -> str:
    """Return the text of an error of `SourcePolicy._http` with the names of the settings of the API."""
    return str(error).replace("STT_ALLOWED", "STT_HTTP_ALLOWED").replace("of this worker", "of this server")


def validated(fields: Mapping[str, Any]) -> JobSpec:
    """Validate the fields of a job. Raises Problem 422 with all invalid fields."""
    try:
        spec = JobSpec.model_validate(fields)
    except ValidationError as exc:
        raise Problem(422, problems(exc), code="bad_job") from None
    if spec.batch in (".", ".."):
        # Clients resolve these parts of a path, also in their encoded form, so the batch would have no address.
        raise Problem(
            422, f"batch: {spec.batch!r} cannot be part of a web address; choose another name", code="bad_job"
        )
    return spec


__all__ = ["SourcePolicy", "validated"]
