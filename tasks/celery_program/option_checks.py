"""Checks the options of `celery worker` while they are parsed, before `--detach` and `celery multi` leave the
terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
from celery import Celery
from celery.bin import worker as worker_command
from click.core import ParameterSource

from tasks.celery_program.refused_options import pool_problem


class _PoolOption(worker_command.WorkersPool):  # type: ignore[misc]
    """The option -P. Celery takes `-P prefork` for the default and silently uses the pool of the configuration."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        given = ctx is not None and ctx.get_parameter_source("pool") is not ParameterSource.DEFAULT
        if given and isinstance(value, str) and (problem := pool_problem(value)):
            self.fail(problem, param, ctx)
        return super().convert(value, param, ctx)


def install(app: Celery, problems_of: Callable[[Mapping[str, Any]], list[str]]) -> None:
    """Make `celery worker` check its options for `app`. `problems_of` returns why options are refused.

    The check is an extra option, which is Celery's documented extension. Its callback runs after all options are
    parsed."""
    for parameter in worker_command.worker.params:
        if parameter.name == "pool":
            parameter.type = _PoolOption()

    def check(ctx: click.Context, _parameter: click.Parameter, _value: object) -> None:
        if ctx.obj.app is app and (problems := problems_of(ctx.params)):
            raise click.UsageError("; ".join(problems), ctx)

    app.user_options["worker"].add(click.Option(["--checked-options"], hidden=True, expose_value=False, callback=check))


__all__ = ["install"]
