"""Creates the validated JobSpec of a source. Needs no connection to Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from pydantic import ValidationError

from tasks.client.job_options import JobOptions
from tasks.job_spec import JobSpec, problems
from worker.errors import BadJob, SourceRefused
from worker.storage.address import UNUSUAL_PATH, Address, from_path, is_url, show
from worker.storage.forbidden_characters import control_characters
from worker.text_escaping import printable


def make_spec(source: str | Path | Address, **options: Unpack[JobOptions]) -> JobSpec:
    """Create a validated JobSpec with absolute paths; URLs (`s3://…`) do not change. Raises BadJob, and SourceRefused
    for a name that is not UTF-8 text or has control characters."""
    fields: dict[str, object] = {**options}
    folders = options.get("out_dir")
    if isinstance(folders, (str, Path, Address)):
        fields["out_dir"] = _absolute(folders)
    elif folders is not None:
        fields["out_dir"] = tuple(_absolute(folder) for folder in folders)
    place = _absolute(source)
    if isinstance(place, Address) and place.is_file and place.shown != place.text:
        raise SourceRefused(f"{place}: the name is not UTF-8 text, so a transcript could not contain it; rename it")
    text = place.text if isinstance(place, Address) else place
    if (reason := control_characters(text)) is not None:
        raise SourceRefused(f"{printable(text)}: the name {reason}")
    try:
        return JobSpec.model_validate({**fields, "source": place})
    except ValidationError as exc:
        raise BadJob(f"{show(str(source))}: {problems(exc)}") from None


def _absolute(place: str | Path | Address) -> str | Address:
    """Return a path as the address of the absolute path. A URL is returned as text, which JobSpec parses."""
    if isinstance(place, Address):
        # A path that the search for recordings found is already absolute. A second Path would double the time.
        ready = not place.is_file or (place.text.startswith("/") and not UNUSUAL_PATH.search(place.text))
        return place if ready else from_path(place.path.absolute())
    return place if isinstance(place, str) and is_url(place) else from_path(Path(place).absolute())


__all__ = ["make_spec"]
