"""Writes the reference pages of the documentation from the code.

python -m tests.support.reference_pages        updates the pages, and the file .env.example
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

import click
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from tasks.cli import main
from tasks.job_spec import JobSpec, JobStatus
from tests.support import env_example, readme
from worker import errors, metrics
from worker.ledger.event_stream import Event
from worker.transcript.model import Transcript

FOLDER: Final = readme.SITE / "reference"
COMMAND: Final = "python -m tests.support.reference_pages"
EVENTS: Final = {
    "queued": ("The job was added to the queue.", ""),
    "started": ("A worker started an attempt.", "`attempt`"),
    "progress": ("The position in the audio changed.", "`sent_s`, `committed_s`, `partial` and others"),
    "committed": ("A segment is final and stored.", "`start`, `end`, `text`"),
    "done": ("The job ended; its audio is covered completely.", "`review`: codes of the reasons to review it"),
    "incomplete": ("The job ended; parts of its audio are missing.", "`review`: codes of the reasons to review it"),
    "failed": ("The job ended without a finished transcript.", "`code`, `reason`"),
    "cancelled": ("A user or a program cancelled the job.", ""),
    "key_paused": (
        "The service refuses the API key, its account or a permission: no job starts.",
        "`key`, `code`, `reason`",
    ),
    "key_resumed": ("A probe of a paused API key succeeded: jobs start again.", "`key`"),
}


@cache
def pages() -> dict[Path, str]:
    """Return the current text of each generated page."""
    found = {
        "cli.md": "# Command line\n\n" + _commands(),
        "settings.md": "# Settings\n\nSettings are environment variables, read when a process starts. A wrong value "
        "stops the start, and the message names the setting. A secret may also come from a file: "
        "`STT_API_KEY_FILE` names one.\n\n" + readme.settings_table(),
        "jobs.md": "# Job fields\n\nThe JSON document of a job, as manifests, the intake and Python accept it. Unknown "
        "fields are refused.\n\n"
        + _commented(JobSpec)
        + "\n\n## Status\n\nThe document that `stt-batch status --json` "
        "and `handle.status()` return.\n\n" + _commented(JobStatus),
        "events.md": _events(),
        "metrics.md": "# Metrics\n\nMetrics of a worker, intake or watch (`STT_METRICS_PORT`) and of the "
        "self-hosted service (`stt_server_…`). The metrics of the queue are equal on all workers: "
        "aggregate them with `max`."
        "\n\n" + _metrics(),
        "transcript.md": "# Transcript schema\n\n`stt-batch schema` prints the same as a JSON "
        "Schema. Times are seconds "
        "from the start of the file.\n\n" + _schema(),
        "error-codes.md": "# Error codes\n\nThe field `error_code` of a failed job, and `code` in events. The remedies "
        "are in [Error messages](errors.md).\n\n" + _codes(),
    }
    note = f"<!-- generated: {COMMAND} -->\n"
    made = {FOLDER / name: f"{note}{text.rstrip()}\n" for name, text in found.items()}
    return {**made, env_example.PATH: env_example.text()}


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in lines)


def _commands() -> str:
    return "\n\n".join(_command("stt-batch", main, 2))


def _command(name: str, command: click.Command, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield f"{'#' * level} {name}"
    text = inspect.cleandoc("\n\n".join(filter(None, (command.help, command.epilog)))).partition("\f")[0]
    for paragraph in text.split("\n\n"):
        example = paragraph.startswith("\b")
        lines = paragraph.removeprefix("\b\n")
        yield f"```text\n{lines}\n```" if example else lines.replace("*", r"\*").replace("<", "&lt;")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{name} {usage}\n```"
    options = [p.get_help_record(context) for p in command.params if isinstance(p, click.Option)]
    rows = [(f"`{option[0]}`", option[1].replace("*", r"\*").replace("<", "&lt;")) for option in options if option]
    if rows:
        yield _table(("option", "meaning"), rows)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _command(f"{name} {child}", found, level + 1 if level > 2 else 2)


def _commented(model: type[BaseModel]) -> str:
    """A table of the fields of a model whose source describes them in comments."""
    comments: dict[str, str] = {}
    waiting: list[str] = []
    for line in map(str.strip, inspect.getsource(model).splitlines()):
        if line.startswith("# "):
            waiting.append(line[2:])
        else:
            if (field := re.match(r"([a-z_0-9]+): ", line)) and field[1] in model.model_fields:
                comments[field[1]] = " ".join(waiting)
            waiting = []
    properties = model.model_json_schema(mode="validation")["properties"]
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    rows = [
        (f"`{name}`", _type(schema), "required" if name in required else _default(schema), comments.get(name, ""))
        for name, schema in properties.items()
    ]
    return _table(("field", "type", "default", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    return "" if value is None or isinstance(value, dict) else f"`{value}`"


def _schema() -> str:
    schema = Transcript.model_json_schema(mode="serialization")
    parts = []
    for name, part in {"Transcript": schema, **schema["$defs"]}.items():
        rows = [
            (f"`{field}`", _type(facts), facts.get("description", ""))
            for field, facts in part.get("properties", {}).items()
        ]
        parts.append(f"## {name}\n\n{part.get('description', '')}\n\n" + _table(("field", "type", "meaning"), rows))
    return "\n\n".join(parts)


def _events() -> str:
    rows = [(f"`{event}`", *EVENTS[event]) for event in get_args(Event)]
    return (
        "# Events\n\nThe Redis stream `stt:events` has an entry for each event, with the fields `event`, `job`, "
        "`batch` (if the job has one) and the fields below. Events may be lost; the record of a job is exact.\n\n"
        + _table(("event", "meaning", "further fields"), rows)
    )


def _metrics() -> str:
    rows = []
    for value in vars(metrics).values():
        if isinstance(value, MetricWrapperBase):
            (family,) = value.describe()
            suffix = "_total" if family.type == "counter" else ""
            labels = ", ".join(f"`{label}`" for label in value._labelnames)
            rows.append((f"`{family.name}{suffix}`", family.type, labels, family.documentation))
    return _table(("metric", "type", "labels", "meaning"), rows)


def _codes() -> str:
    meaning = dict(re.findall(r"([A-Z]\w+) {2,}(.+)", errors.__doc__ or ""))
    rows = []
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.SttError):
            text = meaning.get(name, inspect.getdoc(error) if "__doc__" in vars(error) and error.__doc__ else "")
            rows.append(
                (f"`{error.code}`", "yes" if error.retryable else "no", (text or "").removeprefix("(retryable) "))
            )
    return _table(("code", "retried", "meaning"), rows)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
