"""Reads the manifests in deploy/kubernetes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"


@cache
def manifests() -> list[tuple[str, dict[str, Any]]]:
    """Return all objects, each with the name of its file."""
    return [
        (path.name, document)
        for path in sorted(FOLDER.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    """Return the objects of some kinds, by name."""
    return {one["metadata"]["name"]: one for _, one in manifests() if one["kind"] in kinds}
