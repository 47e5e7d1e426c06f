"""Types for fields of pydantic models that contain addresses. In JSON an address is a text, which is parsed once, when
the model is created."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, GetPydanticSchema, PlainSerializer, ValidatorFunctionWrapHandler, WrapValidator

from worker.errors import BadJob
from worker.storage.address import Address, parse

MAX_FOLDERS: Final = 16
_Folder = Annotated[str, Field(min_length=1, max_length=4096)]


def _as(text_type: Any) -> GetPydanticSchema:
    """Use the pydantic schema of `text_type` for a field whose parsed value is an Address."""
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(text_type))


def _parsed(given: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    return _addresses(validate(_texts(given)), given)


def _addresses(texts: Any, given: Any) -> Any:
    """Parse `texts`, the validated texts of `given`, as addresses. An `Address` in `given` is returned unchanged,
    because the producer API has already parsed it."""
    if isinstance(given, Address) or texts is None:
        return given
    if isinstance(texts, tuple):
        known = given if isinstance(given, (tuple, list)) else texts
        return tuple(_addresses(text, one) for text, one in zip(texts, known, strict=True))
    try:
        return parse(texts)
    except BadJob as exc:
        raise ValueError(str(exc)) from None


def _texts(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(_texts(one) for one in value)
    return value.text if isinstance(value, Address) else value


def parse_source(text: str) -> Address:
    """Parse a source or a folder that a setting or a job names. Raises BadJob."""
    return parse(text)


_PARSED: Final = WrapValidator(_parsed)
_AS_GIVEN: Final = PlainSerializer(_texts)
Source = Annotated[Address, _as(Annotated[str, Field(min_length=1, max_length=4096)]), _PARSED, _AS_GIVEN]
Folders = Annotated[
    Address | tuple[Address, ...] | None,
    _as(_Folder | Annotated[tuple[_Folder, ...], Field(max_length=MAX_FOLDERS)] | None),
    _PARSED,
    _AS_GIVEN,
]
Webhook = Annotated[
    Address | None, _as(Annotated[str, Field(min_length=1, max_length=2048)] | None), _PARSED, _AS_GIVEN
]

__all__ = ["Folders", "Source", "Webhook", "parse_source"]
