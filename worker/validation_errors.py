"""Formats Pydantic's validation errors as one line for a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

Location = tuple[int | str, ...]
"""The path to an invalid value, such as `("out_dir", 0)`; empty for the whole object."""


def dotted(location: Location, whole: str) -> str:
    """Return the path with dots between its parts, such as `out_dir.0`, or `whole` for the whole object."""
    return ".".join(map(str, location)) or whole


def describe_errors(error: ValidationError, name: Callable[[Location], str]) -> str:
    """Return all invalid values with their reasons, as one line. `name`: returns the name of a value for the message.
    If that name is empty, only the reason is shown."""
    return describe_details(error.errors(include_url=False, include_input=False), name)


def describe_details(details: Sequence[Mapping[str, Any]], name: Callable[[Location], str]) -> str:
    """Format the elements of `ValidationError.errors`, like `describe_errors`."""
    return "; ".join(
        f"{f'{shown}: ' if (shown := name(one['loc'])) else ''}{one['msg'].removeprefix('Value error, ')}"
        for one in details
    )
