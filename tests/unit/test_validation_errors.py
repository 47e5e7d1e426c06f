"""Validation errors become one line that names each value."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from worker.validation_errors import describe_errors, dotted


class _Inner(BaseModel):
    sizes: list[int] = Field(default_factory=list)


class _Outer(BaseModel):
    secret: int = 0
    inner: _Inner = Field(default_factory=_Inner)
    name: str = "a"

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if value != "a":
            raise ValueError("must be a")
        return value

    @model_validator(mode="after")
    def _check(self) -> _Outer:
        if self.secret == 13:
            raise ValueError("does not fit together")
        return self


def describe(**fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        _Outer.model_validate(fields)
    return describe_errors(caught.value, lambda location: dotted(location, "all"))


def test_a_nested_value_is_named_by_its_full_path() -> None:
    assert describe(inner={"sizes": [1, "x"]}).startswith("inner.sizes.1: Input should be a valid integer")


def test_all_errors_are_on_one_line() -> None:
    assert describe(secret="x", name="b").count("; ") == 1
    assert "\n" not in describe(secret="x", name="b")


def test_our_own_message_has_no_prefix_of_the_library() -> None:
    assert describe(name="b") == "name: must be a"


def test_an_error_of_the_whole_object_has_its_name() -> None:
    assert describe(secret=13) == "all: does not fit together"


def test_an_empty_name_leaves_only_the_reason() -> None:
    with pytest.raises(ValidationError) as caught:
        _Outer.model_validate({"secret": 13})
    assert describe_errors(caught.value, lambda _: "") == "does not fit together"


def test_the_rejected_value_is_not_shown() -> None:
    """The rejected value may be a secret."""
    assert "hunter2" not in describe(secret="hunter2")
