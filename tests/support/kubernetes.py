"""Reads the manifests in deploy/kubernetes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tests.support.yaml_files import read_yaml_documents

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"


@cache
def manifests() -> list[tuple[str, dict[str, Any]]]:
    """Return all objects, each with the name of its file."""
    return [(path.name, document) for path in sorted(FOLDER.glob("*.yaml")) for document in read_yaml_documents(path)]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    """Return the objects of some kinds, by name."""
    return {one["metadata"]["name"]: one for _, one in manifests() if one["kind"] in kinds}
